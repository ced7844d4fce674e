"""Templates rendered in memory: from a folder, variables and environments to the files of a repository.

The same input gives the same bytes. Values are data wherever they stand: every expression goes through `quoting`, what
a template may say is bounded by `checking`, and what comes out must be YAML again.
"""

from __future__ import annotations

import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from reconciler.errors import SpecError
from reconciler.kinds.project.templates.checking import check
from reconciler.kinds.project.templates.folders import FILES, MANIFEST, OVERLAY, Folder
from reconciler.kinds.project.templates.names import app_name, image_path, prefix
from reconciler.kinds.project.templates.quoting import quoted
from reconciler.model.digest import to_plain
from reconciler.transports.yaml_text import load_yaml_documents

if TYPE_CHECKING:
    import jinja2

MAX_RENDERED = 10_000_000
MAX_VALUES = 1_000
_SUFFIXES = (".yaml", ".yml")
_RENDERED = tuple(f"{suffix}.j2" for suffix in _SUFFIXES)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a template is told of the project. repository: its address without credentials."""

    slug: str
    name: str = ""
    id: str = ""
    description: str = ""
    repository: str = ""
    branch: str = "main"


@dataclass(frozen=True, slots=True)
class Overlay:
    """What a template is told of an environment.

    slug: unique in the project. type: development, staging, production or testing. path: of its overlay in the
    repository. cluster: two of the same one must not have the same host. host, replicas: "" and None for what the
    template has by default.
    """

    slug: str
    type: str
    path: str
    namespace: str = ""
    cluster: str = ""
    host: str = ""
    replicas: int | None = None


def variables_schema(folder: Folder) -> dict[str, Any]:
    """JSON Schema of the variables that a template takes, from its template.json. Raises SpecError."""
    try:
        written = json.loads(folder.content[MANIFEST])
        properties = written["variables"]
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        import jsonschema  # noqa: PLC0415 - costs 60 ms, and few commands read templates

        jsonschema.Draft202012Validator.check_schema(schema)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f"template {folder.name}: {MANIFEST} is no JSON object with variables"
        raise SpecError("InvalidTemplate", message) from error
    except jsonschema.SchemaError as error:
        message = f"template {folder.name}: {MANIFEST}: {error.json_path}: {error.message}"
        raise SpecError("InvalidTemplate", message) from error
    return {**schema, "required": written.get("required", [])}


def complete_variables(folder: Folder, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given and the defaults of the rest. Raises SpecError naming every variable that is wrong."""
    import jsonschema  # noqa: PLC0415 - likewise

    schema = variables_schema(folder)
    plain = to_plain(given)
    if len(json.dumps(plain).split(",")) > MAX_VALUES:
        raise SpecError("InvalidVariable", f"template {folder.name}: more than {MAX_VALUES} values in variables")
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(plain), key=lambda error: error.json_path)
    if errors:
        faults = "; ".join(f"{error.json_path.removeprefix('$.')}: {error.message[:200]}" for error in errors[:10])
        raise SpecError("InvalidVariable", f"template {folder.name}: {faults}")
    defaults = {name: member["default"] for name, member in schema["properties"].items() if "default" in member}
    return {**defaults, **plain}


def render_folder(
    folder: Folder, variables: Mapping[str, Any], environments: Sequence[Overlay], project: Facts
) -> dict[str, bytes]:
    """Content by path in the repository, sorted. Raises SpecError naming the file, the variable or the environment."""
    app = app_name(project.slug)
    common = {
        "project": {**asdict(project), "app": app, "image": image_path(project.repository, app)},
        "variables": complete_variables(folder, variables),
        "environments": [_told(one) for one in environments],
    }
    _check_paths(environments)
    found: dict[str, bytes] = {}
    for path, content in _repository_files(folder, environments, common):
        if path in found:
            raise SpecError("InvalidTemplate", f"template {folder.name}: {path} is made twice")
        if content.strip():  # a file that says nothing for this environment is not there
            found[path] = content
        if sum(map(len, found.values())) > MAX_RENDERED:
            raise SpecError("InvalidTemplate", f"template {folder.name} gives more than {MAX_RENDERED:,} bytes")
    _check_hosts(found, environments)
    return dict(sorted(found.items()))


def _repository_files(
    folder: Folder, environments: Sequence[Overlay], common: Mapping[str, Any]
) -> Iterator[tuple[str, bytes]]:
    for name, content in folder.content.items():
        place, _, below = name.partition("/")
        if place == FILES and below:
            yield _file(folder, name, below, content, common)
        elif place == OVERLAY and below:
            for environment in environments:
                root = overlay_path(environment)
                values = {**common, "environment": _told(environment), "base": _way_to("k8s/base", root)}
                yield _file(folder, name, f"{root}/{below}", content, values)
        elif name != MANIFEST:
            raise SpecError("InvalidTemplate", f"template {folder.name}: {name} is in neither {FILES} nor {OVERLAY}")


def _told(environment: Overlay) -> dict[str, Any]:
    """An environment as templates see it, with the prefix that tells its objects from those of the others."""
    return {**asdict(environment), "prefix": prefix(environment.slug)}


def overlay_path(environment: Overlay) -> str:
    """Where an environment's overlay is in the repository, without `./`. Raises SpecError for what leads elsewhere."""
    path = posixpath.normpath(environment.path)
    is_hidden = any(part == ".git" or not part.isprintable() for part in path.split("/"))
    if path in (".", "..") or path.startswith(("/", "../")) or is_hidden:
        message = f'environment {environment.slug}: "{environment.path}" is no folder of a repository'
        raise SpecError("InvalidPath", message)
    return path


def _check_paths(environments: Sequence[Overlay]) -> None:
    """Each environment has a folder of its own, and none lies in another's."""
    paths = sorted((overlay_path(one) + "/", one.slug) for one in environments)
    for (path, name), (following, other) in pairwise(paths):
        if following.startswith(path):
            raise SpecError("InvalidPath", f"environments {name} and {other} have paths in each other: {path[:-1]}")


def _way_to(target: str, start: str) -> str:
    return posixpath.relpath(f"/{target}", f"/{start}")


def _file(folder: Folder, name: str, path: str, content: bytes, values: Mapping[str, Any]) -> tuple[str, bytes]:
    where = f"template {folder.name}: {name}"
    if name.endswith(".j2") and not name.endswith(_RENDERED):
        raise SpecError("InvalidTemplate", f"{where}: only YAML is rendered")
    if name.endswith(_RENDERED):
        path, content = path.removesuffix(".j2"), _rendered(_text(content, where), name, values).encode()
    if path.endswith(_SUFFIXES):
        _documents(content, where)
    return path, content


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError("InvalidTemplate", f"{where} is not UTF-8 text") from error


def _rendered(text: str, name: str, values: Mapping[str, Any]) -> str:
    import jinja2  # noqa: PLC0415 - costs 50 ms, and few commands render

    environment = _environment()
    try:
        check(environment.parse(text))
        return _bounded(environment.from_string(text).generate(**values))
    except jinja2.TemplateSyntaxError as error:
        fault = f"line {error.lineno}: {error.message}"
        raise SpecError("InvalidTemplate", f"template file {name}: {fault}") from error
    except (SpecError, jinja2.TemplateError, TypeError, RecursionError) as error:
        raise SpecError("InvalidTemplate", f"template file {name}: {error}") from error


def _bounded(parts: Iterator[str]) -> str:
    found: list[str] = []
    size = 0
    for part in parts:
        found.append(part)
        size += len(part)
        if size > MAX_RENDERED:
            raise SpecError("InvalidTemplate", f"it gives more than {MAX_RENDERED:,} characters")
    return "".join(found)


@cache
def _environment() -> jinja2.Environment:
    """A sandbox whose every expression is quoted, and in which a name after a point is a key and nothing else."""
    import jinja2  # noqa: PLC0415 - likewise
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - likewise

    class Bounded(ImmutableSandboxedEnvironment):
        def getattr(self, obj: Any, attribute: str) -> Any:
            if isinstance(obj, Mapping) and attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)

    def finalize(value: Any) -> str:
        return str(value) if isinstance(value, jinja2.Undefined) else quoted(value)  # the former raises

    return Bounded(
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        autoescape=False,  # it is no HTML
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _documents(content: bytes, where: str) -> list[Any]:
    import yaml  # noqa: PLC0415 - who only plans need not read any

    try:
        return load_yaml_documents(content)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise SpecError("InvalidTemplate", f"{where}{line} gives no valid YAML") from error


def _check_hosts(found: Mapping[str, bytes], environments: Sequence[Overlay]) -> None:
    """Two environments of one cluster must not have the same host: one of them would get the other's requests."""
    seen: Counter[tuple[str, str]] = Counter()
    for environment in environments:
        root = f"{overlay_path(environment)}/"
        for host in {host for path in found if path.startswith(root) for host in _hosts(path, found[path])}:
            seen[environment.cluster, host] += 1
    shared = [host for (_, host), count in seen.items() if count > 1]
    if shared:
        raise SpecError("HostClash", f"more than one environment has the host {', '.join(sorted(shared))}")


def _hosts(path: str, content: bytes) -> Iterator[str]:
    """The hosts of the Ingresses (or patches of such) in a file."""
    if not path.endswith(_SUFFIXES):
        return
    for document in _documents(content, path):
        if isinstance(document, dict) and document.get("kind") == "Ingress":
            rules = (document.get("spec") or {}).get("rules") or ()
            yield from (str(rule["host"]) for rule in rules if isinstance(rule, dict) and rule.get("host"))
