"""The declaration of every setting, once: field, default, limits, description. Everything else is derived from it.

`settings` reads values by it, `describe_settings` is the table of docs/settings.md, `settings_schema` is for editors
and error messages.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from reconciler.model.duration import PATTERN as DURATION_PATTERN
from reconciler.model.duration import format_duration

Form = Literal["boolean", "integer", "duration", "text", "path", "list", "tree"]
ENVIRONMENT_PREFIX = "RECONCILER_"
_SETTING = "setting"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a value may be. minimum, maximum: of integers and, in seconds, durations. choices: of text."""

    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """One setting. name: dotted, as in the file. attribute: the same as attributes of Settings. default: converted."""

    name: str
    attribute: tuple[str, ...]
    form: Form
    default: Any
    description: str
    limits: Limits

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + "_".join(self.attribute).upper()

    @property
    def shown_default(self) -> str:
        """The default as people would write it."""
        return _SHOWN_DEFAULTS.get(self.name) or _shown(self.form, self.default)

    @property
    def shown_form(self) -> str:
        """What a value is, in words."""
        if self.limits.choices:
            return " or ".join(self.limits.choices)
        return {"tree": "mapping by kind", "list": "list of text"}.get(self.form, self.form)


_ANY = Limits()
_SHOWN_DEFAULTS = {
    "home": "/var/lib/reconciler for root, else $XDG_STATE_HOME/reconciler (~/.local/state/reconciler)",
    "dbUrl": "reconciler.db in the home (SQLite)",
}


def _shown(form: Form, value: Any) -> str:
    if form == "duration":
        return format_duration(value).replace(".0s", "s") if value >= 1 else f"{value * 1000:g}ms"
    if form == "list":
        return ", ".join(value) or "none"
    if form == "boolean":
        return "true" if value else "false"
    return "none" if value is None or value == {} else str(value)


def _setting(
    form: Form,
    default: Any,
    description: str,
    limits: Limits = _ANY,
    *,
    shown: bool = True,
) -> Any:
    """A dataclass field with what `KEYS` needs to know of it. shown: in the repr; it may hold a password."""
    metadata = {_SETTING: (form, description, limits)}
    if default is dataclasses.MISSING:
        return field(metadata=metadata, repr=shown)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata, repr=shown)
    return field(default=default, metadata=metadata, repr=shown)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait after a failure that may pass, in seconds: doubled from `min` up to `max`, with jitter."""

    min: float = _setting("duration", 1.0, "First wait after a failure.", Limits(0.01))
    max: float = _setting("duration", 300.0, "Longest wait between attempts.", Limits(0.01))


@dataclass(frozen=True, slots=True)
class Web:
    """Where the page is served."""

    host: str = _setting("text", "127.0.0.1", "Address that the page listens on.")
    port: int = _setting("integer", 8080, "Port of the page; 0 takes a free one.", Limits(0, 65535))
    allowed_hosts: tuple[str, ...] = _setting(
        "list", (), "Further host names under which browsers and clients may ask for the page and the API."
    )


@dataclass(frozen=True, slots=True)
class Log:
    """What the daemon logs."""

    format: str = _setting("text", "console", "How log lines look.", Limits(choices=("console", "json")))
    level: str = _setting("text", "info", "What is logged.", Limits(choices=("debug", "info", "warning", "error")))


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """Which secrets documents may name."""

    env: tuple[str, ...] = _setting(
        "list", ("RECONCILER_SECRET_*",), "Environment variables that `fromEnv` may name, as patterns with * and ?."
    )
    files: tuple[str, ...] = _setting(
        "list", ("secrets",), "Folders, or patterns of paths, that `fromFile` may read; relative ones lie in the home."
    )


@dataclass(frozen=True, slots=True)
class Git:
    """Specs in a git repository, instead of a folder. Nothing of git's own configuration is read."""

    url: str = _setting("text", "", "Repository of specs, where a command names neither this nor a folder.")
    branch: str = _setting("text", "main", "Branch that counts.")
    path: str = _setting("text", "", "Folder of specs inside the repository.")
    interval: float = _setting("duration", 60.0, "How often the daemon fetches, give or take a tenth.", Limits(1))
    timeout: float = _setting("duration", 60.0, "Deadline of each call of git.", Limits(0.1))
    force_updates: bool = _setting("boolean", False, "Follow a branch that was rewritten.")
    ssh_key: Path | None = _setting("path", None, "Private key for ssh, instead of the user's own.")  # noqa: RUF009
    known_hosts: Path | None = _setting("path", None, "Hosts that ssh trusts, instead of the user's.")  # noqa: RUF009
    token_file: Path | None = _setting("path", None, "File with the token or password for https.")  # noqa: RUF009
    username: str = _setting("text", "git", "Name that goes with the token, where the URL has none.")
    ca_file: Path | None = _setting("path", None, "Certificates that https trusts.")  # noqa: RUF009
    use_proxy: bool = _setting(
        "boolean", False, "Reach the REST APIs of GitHub and GitLab through the proxy of HTTPS_PROXY and NO_PROXY."
    )
    webhook_secret_file: Path | None = _setting(  # noqa: RUF009
        "path", None, "File with the secret of the webhook; without one there is no webhook."
    )
    env: tuple[str, ...] = _setting("list", (), "Environment variables that documents out of git may name.")
    files: tuple[str, ...] = _setting(
        "list", (), "Folders, or patterns of paths, outside of the repository that documents out of git may read."
    )


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """What a kubeconfig may do beside naming a server and credentials."""

    allow_exec: bool = _setting("boolean", False, "Let a kubeconfig run programs (`exec`, `auth-provider`).")
    allow_proxy: bool = _setting("boolean", False, "Let a kubeconfig send everything through a proxy.")
    allow_token_file: bool = _setting("boolean", False, "Let a kubeconfig read its token from a file that it names.")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. Durations in seconds, paths absolute."""

    home: Path = _setting(  # noqa: RUF009  # it makes a dataclass field
        "path", dataclasses.MISSING, "Folder of everything that is kept: database, keys, kubeconfigs, sandbox."
    )
    specs: Path | None = _setting(  # noqa: RUF009  # it makes a dataclass field
        "path", None, "Folder or file of specs, where a command names none."
    )
    db_url: str = _setting("text", "", "Database, as an SQLAlchemy URL.", shown=False)
    forks: int = _setting("integer", 8, "How many changes are carried out at the same time.", Limits(1, 256))
    observers: int = _setting("integer", 32, "How many targets are looked at at once.", Limits(1, 1024))
    prune: bool = _setting("boolean", False, "Delete what vanished from the specs.")
    max_deletes: int = _setting(
        "integer", 5, "A plan that deletes more than this stops and asks.", Limits(0, 1_000_000)
    )
    unsettled_interval: float = _setting("duration", 30.0, "Drift check of what is not ready.", Limits(0.1))
    shutdown_timeout: float = _setting(
        "duration", 30.0, "How long a stopping daemon waits for running steps.", Limits(0)
    )
    lease_ttl: float = _setting("duration", 30.0, "How long a lease holds without being renewed.", Limits(0.1))
    busy_timeout: float = _setting("duration", 30.0, "How long to wait for a locked database.", Limits(0))
    observe_timeout: float = _setting("duration", 30.0, "Deadline of looking at one target.", Limits(0.01))
    debounce: float = _setting("duration", 0.02, "Quiet time after a file event before specs are read.", Limits(0))
    debounce_max: float = _setting("duration", 0.2, "Longest delay by file events that go on.", Limits(0))
    backoff: Backoff = Backoff()
    web: Web = Web()
    log: Log = Log()
    secrets: SecretSettings = SecretSettings()
    defaults: Mapping[str, Mapping[str, Any]] = _setting(
        "tree", {}, "Values for spec fields that documents leave out, by kind."
    )
    kinds: Mapping[str, Mapping[str, Any]] = _setting("tree", {}, "Settings that a kind itself defines, by kind.")
    plugins: tuple[str, ...] = _setting("list", (), "Python modules that provide further kinds.")
    kubeconfig: Kubeconfig = Kubeconfig()
    git: Git = Git()


SECTIONS: Mapping[str, type[Any]] = {
    "backoff": Backoff,
    "web": Web,
    "log": Log,
    "secrets": SecretSettings,
    "kubeconfig": Kubeconfig,
    "git": Git,
}


def _keys(owner: type[Any], above: tuple[str, ...] = ()) -> Iterator[Key]:
    for one in dataclasses.fields(owner):
        attribute = (*above, one.name)
        if one.name in SECTIONS and not above:
            yield from _keys(SECTIONS[one.name], attribute)
        else:
            form, description, limits = one.metadata[_SETTING]
            default = None if one.default is dataclasses.MISSING else one.default
            yield Key(".".join(map(_camel, attribute)), attribute, form, default, description, limits)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


KEYS: tuple[Key, ...] = tuple(_keys(Settings))


def describe_settings() -> tuple[Key, ...]:
    """Every setting, in the order of the documentation."""
    return KEYS


def settings_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the settings file."""
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of reconciler",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    for key in KEYS:
        place = schema
        *sections, leaf = key.name.split(".")
        for name in sections:
            described = {
                "type": "object",
                "description": (SECTIONS[name].__doc__ or "").strip(),
                "additionalProperties": False,
                "properties": {},
            }
            place = place["properties"].setdefault(name, described)
        place["properties"][leaf] = _value_schema(key) | {"description": key.description}
    return schema


def _value_schema(key: Key) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if key.limits.minimum is not None:
        limits["minimum"] = key.limits.minimum
    if key.limits.maximum is not None:
        limits["maximum"] = key.limits.maximum
    if key.limits.choices:
        return {"enum": list(key.limits.choices)}
    if key.form == "duration":
        expected = {"pattern": DURATION_PATTERN, "x-expected": "a duration: write for example 30s, 5m or 1h30m"}
        return {"type": ["string", "number"], "maxLength": 63} | expected | limits
    if key.form == "list":
        return {"type": "array", "maxItems": 1000, "items": {"type": "string", "minLength": 1, "maxLength": 4096}}
    if key.form == "tree":
        return {"type": "object", "additionalProperties": {"type": "object"}}
    names = {"boolean": "boolean", "integer": "integer"}
    return {"type": names.get(key.form, "string")} | limits


def settings_document() -> str:
    """docs/settings.md, which a test compares with the file."""
    rows = [
        f"| `{key.name}` | `{key.variable}` | {key.shown_form} | {key.shown_default} | {key.description} |"
        for key in KEYS
    ]
    return "\n".join([*_DOCUMENT_HEAD, *rows, ""])


_DOCUMENT_HEAD = (
    "# Settings",
    "",
    "The settings file is YAML: the one that `--config` names, else the one that `$RECONCILER_CONFIG` names, else",
    "`config.yaml` in the home. The current folder is never searched. Environment variables win over the file. A file",
    "or home that group or others may write is refused. An unknown key or a wrong value is an error with its place.",
    "",
    "A dot in a key stands for a level of the file. In variables, lists are separated by commas, mappings are JSON,",
    "and durations are written as in the file: `500ms`, `30s`, `5m`, `1h30m`, or seconds. An empty variable is as good",
    "as none, except for a list, which it empties. Relative paths start at the file's folder, in variables at the",
    "current folder.",
    "",
    "| Key | Variable | Value | Default | What it does |",
    "| --- | --- | --- | --- | --- |",
)
