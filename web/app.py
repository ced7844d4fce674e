"""The Flask application: blueprints, template filters, headers, and how errors look. Called by `asgi` and by tests."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from flask import Flask, Response, make_response, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

from reconciler.errors import DatabaseError
from reconciler.store.database import Database
from web import api, pages, presentation
from web.reading import EXTENSION
from web.security import HEADERS, MISDIRECTED
from web.settings import PageSettings

METHODS = ("GET", "HEAD")
RETRY_AFTER = 5
STATIC = Path(__file__).parent / "static"
_FILTERS = (
    *("advice", "as_yaml", "absolute", "badge", "bars", "condition_face", "cut", "duration", "face", "labels"),
    *("moment", "per_cent", "resource_url", "shorten", "value"),
)
_USUAL = {
    404: "There is nothing at this address. It may have had another name.",
    400: "The question is not understood.",
}
_log = logging.getLogger("reconciler.web")


def create_flask_app(database: Database, settings: PageSettings | None = None) -> Flask:
    """The pages and the API over an open database. Nothing in it writes."""
    app = Flask("web", static_folder=str(STATIC), template_folder=str(STATIC.parent / "templates"))
    app.extensions[EXTENSION] = database
    app.json.sort_keys = False  # type: ignore[attr-defined] # Flask's own provider has it
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals["version"] = _static_version()
    for name in _FILTERS:
        app.jinja_env.filters[name] = getattr(presentation, name)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(api.blueprint)
    _guard(app, settings or PageSettings())
    _show_errors(app)
    return app


def _guard(app: Flask, settings: PageSettings) -> None:
    """Only reading, only under our own names, and with HEADERS on every answer."""

    @app.before_request
    def _refuse() -> Response | None:
        if not settings.allows_host(request.headers.get("Host", "")):
            return Response(MISDIRECTED, 421, mimetype="text/plain")
        if request.method not in METHODS:
            answer = _error(405, "MethodNotAllowed", "This page only reads: GET and HEAD.")
            answer.headers["Allow"] = ", ".join(METHODS)
            return answer
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
        usual = error.description == type(error).description
        message = _USUAL.get(code, error.name) if usual else error.description
        return _error(code, error.name.replace(" ", ""), message or error.name)

    @app.errorhandler(Exception)
    def _unexpected(error: Exception) -> Response:
        _log.exception("%s %s failed", request.method, request.path, exc_info=error)
        return _error(InternalServerError.code, "InternalError", "Something went wrong here; the log says what.")


def _error(code: int, reason: str, message: str) -> Response:
    if request.path.startswith(api.PREFIX):
        return make_response({"reason": reason, "message": message}, code)
    page = render_template("error.html", code=code, reason=reason, message=message, retry_after=RETRY_AFTER)
    return make_response(page, code)


def _static_version() -> str:
    """Changes when a static file changes, so that browsers may keep them for ever."""
    content = b"".join(path.read_bytes() for path in sorted(STATIC.iterdir()) if path.is_file())
    return hashlib.sha256(content).hexdigest()[:10]
