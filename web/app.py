"""The Flask application: blueprints, template filters, headers, and how errors look. Called by `asgi` and by tests."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from flask import Flask, Response, make_response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable, Unauthorized

from reconciler.errors import DatabaseError, ReconcilerError
from reconciler.store.database import Database
from web import api, clusters_api, gate, pages, pairs_api, presentation, projects_api, tasks_api
from web.admission import Admission
from web.answers import WRITER, error_body, status_of
from web.collection import Collection
from web.collection_api import blueprint_of
from web.reading import EXTENSION, RECORDS
from web.recorded import shown_records
from web.security import HEADERS, MISDIRECTED
from web.settings import PageSettings
from web.writing import Writer

RETRY_AFTER = 5
MAX_BODY = 1_000_000
STATIC = Path(__file__).parent / "static"
_FILTERS = (
    *("advice", "as_yaml", "absolute", "badge", "bars", "condition_face", "cut", "duration", "face", "labels"),
    *("moment", "per_cent", "resource_url", "shorten", "timeline", "value", "words"),
)
_USUAL = {
    404: "There is nothing at this address. It may have had another name.",
    400: "The question is not understood.",
    413: f"What was sent is larger than {MAX_BODY:,} bytes.",
}
_log = logging.getLogger("reconciler.web")


def create_flask_app(
    database: Database, settings: PageSettings | None = None, writing: tuple[Writer, Admission] | None = None
) -> Flask:
    """The pages and the API over an open database. writing: what writes, and who may; without it, nothing does."""
    app = Flask("web", static_folder=str(STATIC), template_folder=str(STATIC.parent / "templates"))
    app.extensions[EXTENSION] = database
    app.json.sort_keys = False  # type: ignore[attr-defined] # Flask's own provider has it
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["version"] = _static_version()
    for name in _FILTERS:
        app.jinja_env.filters[name] = getattr(presentation, name)
    app.register_blueprint(pages.blueprint)
    for module in (api, clusters_api, pairs_api, projects_api, tasks_api):
        app.register_blueprint(module.blueprint)
    app.register_blueprint(blueprint_of(Collection("applicationsets", "ApplicationSet")))
    if writing is not None:
        _let_write(app, *writing)
    _guard(app, settings or PageSettings(), writing[1] if writing is not None else None)
    _show_errors(app)
    return app


def _let_write(app: Flask, writer: Writer, admission: Admission) -> None:
    """The routes that only make sense where something can be written, and what their templates are given."""
    from web import forms, older_api, openapi  # noqa: PLC0415 - the kinds and the loader, only for who writes

    app.extensions[WRITER] = writer
    app.extensions[RECORDS] = shown_records(writer)
    app.extensions[forms.ADMISSION] = admission
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.register_blueprint(forms.blueprint)
    app.register_blueprint(older_api.blueprint)
    app.register_blueprint(openapi.blueprint)

    @app.context_processor
    def _viewer() -> dict[str, object]:
        found = gate.session()
        return {"viewer": {"session": found, "form_token": admission.form_token(found) if found is not None else ""}}


def _guard(app: Flask, settings: PageSettings, admission: Admission | None) -> None:
    """Only under our own names, writes only by who may, and HEADERS on every answer."""

    @app.before_request
    def _refuse() -> Response | None:
        if not settings.allows_host(request.headers.get("Host", "")):
            return Response(MISDIRECTED, 421, mimetype="text/plain")
        if admission is not None:
            gate.find_session(admission)
        if request.method in gate.READS:
            return None
        allowed = gate.READS if admission is None else (*gate.READS, *gate.WRITES)
        if admission is None or request.method not in allowed:
            only = "This page only reads: GET and HEAD." if admission is None else "There is no such method here."
            answer = _error(405, "MethodNotAllowed", only)
            answer.headers["Allow"] = ", ".join(allowed)
            return answer
        gate.admit_write(admission)
        return None

    @app.after_request
    def _add_headers(response: Response) -> Response:
        for name, text in HEADERS.items():
            response.headers.setdefault(name, text)
        if request.endpoint == "static" and "v" in request.args and response.status_code == 200:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-store"
        return response


def _show_errors(app: Flask) -> None:
    """Errors as a friendly page, or as `{"reason", "message"}` under the API."""

    @app.errorhandler(DatabaseError)
    def _database(error: DatabaseError) -> Response:
        _log.warning("the page could not read the store: %s", error)
        answer = _error(ServiceUnavailable.code, error.reason, error.message)
        answer.headers["Retry-After"] = str(RETRY_AFTER)
        return answer

    @app.errorhandler(HTTPException)
    def _http(error: HTTPException) -> Response:
        code = error.code or InternalServerError.code
        if error.response is not None:
            return make_response(error.response)
        usual = error.description == type(error).description
        message = _USUAL.get(code, error.name) if usual else error.description
        answer = _error(code, error.name.replace(" ", ""), message or error.name)
        for name, text in error.get_headers():
            if name in ("Allow", "Retry-After"):
                answer.headers[name] = text
        if code == Unauthorized.code:
            answer.headers["WWW-Authenticate"] = 'Bearer realm="reconciler"'
        return answer

    @app.errorhandler(ReconcilerError)
    def _refused(error: ReconcilerError) -> Response:
        if request.path.startswith("/api/"):
            return make_response(error_body(error), status_of(error))
        return _error(status_of(error), error.reason, error.message)

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        _log.exception("%s %s failed", request.method, request.path, exc_info=error)
        return _error(InternalServerError.code, "InternalError", "Something went wrong here; the log says what.")


def _error(code: int, reason: str, message: str) -> Response:
    if request.path.startswith("/api/"):
        return make_response({"reason": reason, "message": message}, code)
    page = render_template("error.html", code=code, reason=reason, message=message, retry_after=RETRY_AFTER)
    return make_response(page, code)


def _static_version() -> str:
    """Changes when a static file changes, so that browsers may keep them for ever."""
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    return hashlib.sha256(content).hexdigest()[:10]
