"""Settings from their file and the environment. Read once by every command; importing it costs next to nothing.

The file is the one that `--config` names, else `$RECONCILER_CONFIG`, else `config.yaml` in the home, and never one of
the current folder. Each key is also `RECONCILER_<KEY>`, which wins. Every mistake is a UsageError with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import UsageError
from reconciler.loading.home import absolute, api_token, check_writable_by_us_only, default_home, digest_key, make_home
from reconciler.loading.settings_keys import (
    KEYS,
    SECTIONS,
    Backoff,
    Git,
    Key,
    Kubeconfig,
    Log,
    SecretSettings,
    Settings,
    Web,
    describe_settings,
    settings_document,
    settings_schema,
)
from reconciler.model.duration import parse_duration

if TYPE_CHECKING:
    from reconciler.loading.messages import Finding
    from reconciler.loading.reader import Places

__all__ = [
    "Backoff",
    "Git",
    "Kubeconfig",
    "Log",
    "SecretSettings",
    "Settings",
    "Web",
    "api_token",
    "describe_settings",
    "digest_key",
    "ensure_home",
    "load_settings",
    "settings_document",
    "settings_schema",
]
_MAX_FILE = 1_000_000
_KINDS_VARIABLE = next(key.variable for key in KEYS if key.name == "kinds")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def load_settings(config: Path | None, environ: Mapping[str, str]) -> Settings:
    """All settings. config: from `--config`. Raises UsageError naming file, line and column, or the variable."""
    home = default_home(environ)
    file, is_required = _config_file(config, environ, home)
    values: dict[str, Any] = {}
    if is_required or file.exists():
        values |= _from_file(file)
    for key in KEYS:
        text = environ.get(key.variable)
        if text or (text is not None and key.form == "list"):  # empty is unset, but for lists: none at all
            values[key.name] = _from_variable(key, text)
    home = values.setdefault("home", home)
    for name, default in (("secrets.files", SecretSettings().files), ("git.files", ())):
        values[name] = tuple(str(absolute(one, home)) for one in values.get(name, default))
    settings = _settings(values)
    _check_together(settings)
    if settings.kinds:
        _check_kinds(settings, None if environ.get(_KINDS_VARIABLE) else file)
    return settings


def ensure_home(settings: Settings) -> Path:
    """The home folder, made with mode 0700 if need be. Raises UsageError when it cannot be made or trusted."""
    return make_home(settings.home)


def _config_file(config: Path | None, environ: Mapping[str, str], home: Path) -> tuple[Path, bool]:
    """The settings file, and whether it has to exist."""
    if config is not None:
        return absolute(str(config), Path.cwd), True
    if named := environ.get("RECONCILER_CONFIG"):
        return absolute(named, Path.cwd), True
    return home / "config.yaml", False


def _from_file(file: Path) -> dict[str, Any]:
    """Values by dotted key, converted."""
    from reconciler.loading.reader import YamlError, read_documents  # noqa: PLC0415  # yaml, only where there is a file
    from reconciler.loading.sources import SourceError, read_regular  # noqa: PLC0415  # likewise

    check_writable_by_us_only(file, "settings file")
    try:
        content = read_regular(str(file), _MAX_FILE)
        documents = read_documents(content)
    except SourceError as error:
        raise UsageError("BadSettings", f"settings file {file} {error.message}") from error
    except YamlError as error:
        raise UsageError("BadSettings", f"{file}:{error.line}:{error.column}: {error.message}") from error
    if not documents:
        return {}
    if len(documents) > 1:
        raise UsageError(
            "BadSettings", f"{file}:{documents[1].line}:{documents[1].column}: only one document is allowed"
        )
    document = documents[0].value
    try:
        return _flattened(document, file.parent)
    except ValueError as error:
        raise UsageError("BadSettings", _explained(file, content, documents[0].index, document, error)) from error


def _flattened(document: Any, folder: Path) -> dict[str, Any]:
    """Raises ValueError for whatever is not a known key with a fitting value; `_explained` then says it properly."""
    found: dict[str, Any] = {}
    for name, value in _of_type(document, dict).items():
        if name in SECTIONS and isinstance(value, dict):
            found.update((f"{name}.{leaf}", member) for leaf, member in value.items())
        else:
            found[name] = value
    known = {key.name: key for key in KEYS}
    for name in found:
        if name not in known:
            raise ValueError(f"{name} is not known")
        found[name] = _converted(known[name], found[name], folder)
    return found


def _explained(file: Path, content: bytes, index: int, document: Any, error: ValueError) -> str:
    """The mistakes of a settings file, one a line."""
    from reconciler.loading.messages import schema_findings  # noqa: PLC0415  # only when something is wrong
    from reconciler.loading.reader import nearest_place, read_places  # noqa: PLC0415  # likewise

    places = read_places(content)[index]
    if found := schema_findings(settings_schema(), document):
        return _placed(file, places, found)
    line, column = nearest_place(places, tuple(str(error).partition(":")[0].split(".")))
    return f"{file}:{line}:{column}: {error}"


def _placed(file: Path, places: Places, findings: Iterable[Finding]) -> str:
    """Findings with their places, one a line, in order."""
    from reconciler.loading.reader import nearest_place  # noqa: PLC0415  # only when something is wrong
    from reconciler.loading.text import dotted  # noqa: PLC0415  # likewise

    found = [(nearest_place(places, path), path, message) for path, message in findings]
    return "\n".join(
        f"{file}:{line}:{column}: {f'{dotted(path)}: ' if path else ''}{message}"
        for (line, column), path, message in sorted(found, key=lambda one: one[0])
    )


def _check_kinds(settings: Settings, file: Path | None) -> None:
    """Raises UsageError for what kinds do not take as settings of theirs. file: where they stand, None: a variable."""
    from reconciler.loading.kind_settings import kind_findings  # noqa: PLC0415  # only for who has some
    from reconciler.loading.reader import read_documents, read_places  # noqa: PLC0415  # likewise
    from reconciler.loading.sources import read_regular  # noqa: PLC0415  # likewise
    from reconciler.loading.text import dotted  # noqa: PLC0415  # likewise

    found = kind_findings(settings)
    if found and file is None:
        told = "; ".join(f"{dotted(path)}: {message}" for path, message in found)
        raise UsageError("BadSetting", f"environment variable {_KINDS_VARIABLE}: {told}")
    if found and file is not None:
        content = read_regular(str(file), _MAX_FILE)
        places = read_places(content)[read_documents(content)[0].index]
        raise UsageError("BadSettings", _placed(file, places, found))


def _from_variable(key: Key, text: str) -> Any:
    try:
        return _converted(key, _value_of_text(key, text), Path.cwd)
    except ValueError as error:
        message = str(error).removeprefix(f"{key.name}: ")
        raise UsageError("BadSetting", f"environment variable {key.variable}: {message}") from error


def _value_of_text(key: Key, text: str) -> Any:
    """What a variable's text means. Raises ValueError."""
    if key.form == "boolean":
        if text.lower() not in _WORDS:
            raise ValueError(f"expected true or false, got {text[:80]!r}")
        return _WORDS[text.lower()]
    if key.form == "integer":
        try:
            return int(text[:30])
        except ValueError as error:
            raise ValueError(f"expected a whole number, got {text[:80]!r}") from error
    if key.form == "duration":
        try:
            return float(text[:64])
        except ValueError:
            return text
    if key.form == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    if key.form == "tree":
        import json  # noqa: PLC0415  # a mapping in a variable is rare

        try:
            return json.loads(text)  # its error is a ValueError
        except RecursionError as error:
            raise ValueError("is nested too deeply") from error
    return text


def _converted(key: Key, value: Any, folder: object) -> Any:
    """A value as Settings holds it. Raises ValueError that begins with the key."""
    try:
        match key.form:
            case "boolean":
                return _of_type(value, bool)
            case "integer":
                return _limited(key, _of_type(value, int))
            case "duration":
                return _limited(key, parse_duration(value))
            case "text":
                return _chosen(key, _of_type(value, str))
            case "path":
                return absolute(_of_type(value, str), folder)
            case "list":
                return tuple(_of_type(member, str) for member in _of_type(value, list))
            case "tree":
                return {name: _of_type(member, dict) for name, member in _of_type(value, dict).items()}
    except ValueError as error:
        raise ValueError(f"{key.name}: {error}") from error


def _of_type(value: Any, wanted: type[Any]) -> Any:
    if type(value) is not wanted or (wanted is str and "\0" in value):
        raise ValueError(f"expected {wanted.__name__}, got {str(value)[:80]!r}")
    return value


def _limited(key: Key, value: float) -> float:
    if key.limits.minimum is not None and value < key.limits.minimum:
        raise ValueError(f"{value:g} is less than {key.limits.minimum:g}")
    if key.limits.maximum is not None and value > key.limits.maximum:
        raise ValueError(f"{value:g} is more than {key.limits.maximum:g}")
    return value


def _chosen(key: Key, value: str) -> str:
    if key.limits.choices and value not in key.limits.choices:
        raise ValueError(f"expected {' or '.join(key.limits.choices)}, got {value[:80]!r}")
    return value


def _settings(values: Mapping[str, Any]) -> Settings:
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key in KEYS:
        if key.name in values:
            *section, leaf = key.attribute
            (sections[section[0]] if section else top)[leaf] = values[key.name]
    return Settings(**top, **{name: SECTIONS[name](**members) for name, members in sections.items()})


def _check_together(settings: Settings) -> None:
    for low, high, names in (
        (settings.backoff.min, settings.backoff.max, ("backoff.min", "backoff.max")),
        (settings.debounce, settings.debounce_max, ("debounce", "debounceMax")),
    ):
        if low > high:
            raise UsageError("BadSetting", f"{names[0]} ({low:g}s) is more than {names[1]} ({high:g}s)")
