"""What a spec names but does not hold: secrets in the environment and in files, and files beside the document.

Only what the settings allow is read, and every thing that was read is noted, so that the loader sees when it changes.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from reconciler.loading.sources import (
    DocumentSource,
    Signature,
    SourceError,
    file_signature,
    is_inside,
    read_regular,
)
from reconciler.loading.text import shorten
from reconciler.model.secret import Secret, SpecFile

MAX_SECRET_BYTES = 1_000_000
MAX_FILE_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class SecretRules:
    """Which secrets documents may name. environ: where variables are looked up.

    env: fnmatch patterns of names. files: folders, or fnmatch patterns of paths; both absolute or starting with `~`,
    others allow nothing. anywhere: whether files that are no secrets may be named outside of `files` and of the source.
    section: of the settings, that says so.
    """

    env: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    anywhere: bool = True
    section: str = "secrets"


@dataclass(frozen=True, slots=True)
class Named:
    """One thing outside that was read. where: `env`, `source` or `file`. signature: as it was, None for unknown."""

    where: str
    name: str
    signature: Signature | None


class Outside:
    """Reads on behalf of one document file. `named` collects what was asked for, found or not."""

    def __init__(
        self, rules: SecretRules, key: bytes, source: DocumentSource | None = None, document: str = ""
    ) -> None:
        self._rules = rules
        self._key = key
        self._source = source
        self._document = document
        self.named: list[Named] = []

    def has_changed(self, named: Named) -> bool:
        """True unless the thing is certainly as it was."""
        now = self._signature(named.where, named.name)
        return now is None or now != named.signature

    def secret(self, reference: Mapping[str, Any]) -> Secret:
        """The value behind `{fromEnv: NAME}` or `{fromFile: path}`. Raises SourceError naming it, never its value."""
        if "fromEnv" in reference:
            return self._secret_variable(str(reference["fromEnv"]))
        return self._secret_file(str(reference["fromFile"]))

    def file(self, written: str) -> SpecFile:
        """A text file below the root of the specs. Raises SourceError."""
        if self._source is None:
            raise SourceError("a file can only be named in a document that is itself a file")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(self._document), written))
        if written.startswith(("/", "~")) or path.startswith("..") or "\0" in written:
            raise SourceError(f'"{shorten(written)}" leads out of the specs')
        self._note("source", path)
        try:
            content = self._source.read(path, MAX_FILE_BYTES)
            text = content.decode("utf-8")
        except SourceError as error:
            raise SourceError(f'file "{shorten(written)}" {error.message}') from error
        except UnicodeDecodeError as error:
            raise SourceError(f'file "{shorten(written)}" is not UTF-8 text') from error
        return SpecFile(written, hashlib.sha256(content).hexdigest(), text)

    def file_anywhere(self, written: str) -> SpecFile:
        """A file wherever it is, by digest alone: its text is not kept. Raises SourceError."""
        path = _expanded(written)
        if not self._rules.anywhere:
            path = self._allowed_file(written, "file")
        elif not posixpath.isabs(path):
            if self._source is None:
                raise SourceError(f'"{shorten(written)}" must be an absolute path or start with ~')
            owner = self._source.owner(self._document).removeprefix("file:")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(owner), path))
        self._note("file", path)
        try:
            content = read_regular(path, MAX_FILE_BYTES)
        except SourceError as error:
            raise SourceError(f'file "{shorten(written)}" {error.message}') from error
        return SpecFile(written, hashlib.sha256(content).hexdigest())

    def _secret_variable(self, name: str) -> Secret:
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in self._rules.env):
            raise SourceError(
                f"environment variable {shorten(name)} may not be read: the setting {self._rules.section}.env allows "
                f"{', '.join(self._rules.env) or 'none'}"
            )
        self._note("env", name)
        value = self._rules.environ.get(name)
        if value is None:
            raise SourceError(f"environment variable {shorten(name)} is not set")
        if not value:
            raise SourceError(f"environment variable {shorten(name)} is empty")
        return _checked_secret(value, f"env:{name}")

    def _secret_file(self, written: str) -> Secret:
        path = self._allowed_file(written)
        self._note("file", path)
        try:
            value = read_regular(path, MAX_SECRET_BYTES).decode("utf-8")
        except SourceError as error:
            raise SourceError(f'secret file "{shorten(written)}" {error.message}') from error
        except UnicodeDecodeError:
            raise SourceError(f'secret file "{shorten(written)}" is not UTF-8 text') from None  # it holds the bytes
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise SourceError(f'secret file "{shorten(written)}" is empty')
        return _checked_secret(value, f"file:{path}")

    def _allowed_file(self, written: str, what: str = "secret file") -> str:
        """Where a file really is. Raises SourceError unless the settings allow reading there."""
        expanded = _expanded(written)
        rules = [rule for rule in map(_expanded, self._rules.files) if posixpath.isabs(rule)]
        folders = [os.path.realpath(rule) for rule in rules if not _is_pattern(rule)]
        patterns = [rule for rule in rules if _is_pattern(rule)]
        candidates = [expanded] if posixpath.isabs(expanded) else [posixpath.join(one, expanded) for one in folders]
        allowed: list[str] = []
        for candidate in candidates:
            try:
                real = os.path.realpath(candidate)
            except (OSError, ValueError) as error:
                raise SourceError(f'{what} "{shorten(written)}" cannot be read: its path is not valid') from error
            is_below = any(is_inside(real, folder) for folder in folders)
            if is_below or any(fnmatch.fnmatchcase(real, pattern) for pattern in patterns):
                allowed.append(real)
        if not allowed:
            raise SourceError(
                f'{what} "{shorten(written)}" may not be read: the setting {self._rules.section}.files allows '
                f"{', '.join(self._rules.files) or 'none'}"
            )
        return next((path for path in allowed if FilePath(path).exists()), allowed[0])

    def _note(self, where: str, name: str) -> None:
        """Before reading: a change in between is then seen the next time."""
        self.named.append(Named(where, name, self._signature(where, name)))

    def _signature(self, where: str, name: str) -> Signature | None:
        if where == "env":
            value = self._rules.environ.get(name)
            return None if value is None else hmac.digest(self._key, value.encode(errors="replace"), "sha256").hex()
        if where == "source":
            return self._source.signature(name) if self._source else None
        return file_signature(name)


def _checked_secret(value: str, origin: str) -> Secret:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise SourceError(f"{origin.replace(':', ' ', 1)} is not UTF-8 text") from None  # the cause holds the value
    return Secret(value, origin)


def _is_pattern(rule: str) -> bool:
    return any(character in rule for character in "*?[")


def _expanded(path: str) -> str:
    try:
        return str(FilePath(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise SourceError(f'"{shorten(path)}": there is no such home folder') from error
