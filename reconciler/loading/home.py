"""The home: where it is, that only we can reach it, the key under which secrets are recognised, the API's token.

Used through `settings` by every command that keeps something.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from reconciler.errors import UsageError

_KEY_FILE = "digest.key"
_KEY_BYTES = 32
_TOKEN_LENGTH = 43  # 32 bytes in URL-safe base64
TOKEN_FILE = "api-token"  # noqa: S105 - where it lies, not what it is
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


def default_home(environ: Mapping[str, str]) -> Path:
    """`$RECONCILER_HOME`, else the place that belongs to this user. Absolute."""
    if named := environ.get("RECONCILER_HOME"):
        return absolute(named, Path.cwd)
    if os.geteuid() == 0:
        return Path("/var/lib/reconciler")
    state = environ.get("XDG_STATE_HOME", "")
    if Path(state).is_absolute():  # relative ones are invalid by its specification
        return Path(state) / "reconciler"
    home = environ.get("HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home()) / ".local" / "state" / "reconciler"


def absolute(written: str, base: object) -> Path:
    """A path as written in settings: `~` expanded, relative to `base` (a folder, or a function that finds one)."""
    try:
        path = Path(written).expanduser()
        if path.is_absolute():
            return path
        folder = base() if callable(base) else base
        return Path(os.path.normpath(Path(str(folder)) / path))
    except (OSError, RuntimeError) as error:
        raise UsageError("BadSetting", f"{written[:200]!r} is no usable path: {error}") from error


def check_writable_by_us_only(path: Path, what: str) -> None:
    """Raise UsageError when somebody else may change a file or folder that we are going to trust."""
    try:
        status = path.stat()
    except OSError as error:
        raise UsageError("Unreadable", f"{what} {path} cannot be read: {error.strerror}") from error
    if status.st_mode & _WRITABLE:
        raise UsageError(
            "Unsafe", f"{what} {path} can be written by group or others; allow only its owner: chmod go-w {path}"
        )
    if status.st_uid not in (0, os.geteuid()) and os.geteuid() != 0:
        raise UsageError("Unsafe", f"{what} {path} belongs to another user (uid {status.st_uid})")


def make_home(home: Path) -> Path:
    """The home folder, made if need be, with mode 0700. Raises UsageError when it cannot be made or trusted."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError("NoHome", f"home {home} cannot be made: {error.strerror}") from error
    check_writable_by_us_only(home, "home")
    if stat.S_IMODE(home.stat().st_mode) != 0o700:
        try:
            home.chmod(0o700)
        except OSError as error:
            raise UsageError("Unsafe", f"home {home} can be read by others: {error.strerror}") from error
    return home


def digest_key(home: Path) -> bytes:
    """The home's key for the digests of secrets: 32 bytes, made at the first call, the same for every process.

    Raises UsageError when it can be read by others or is damaged: a new key would make every secret look changed.
    """
    path = home / _KEY_FILE
    try:
        if not path.exists():
            _make_file(path, os.urandom(_KEY_BYTES))
        return _read_key(path)
    except OSError as error:
        raise UsageError("NoDigestKey", f"{path} cannot be read or made: {error.strerror}") from error


def api_token(home: Path) -> str:
    """The token of the write API: 256 random bits as text, made at the first call, the same for every process.

    Remove the file and start again for a new one. Raises UsageError when others can read it or it is damaged.
    """
    path = home / TOKEN_FILE
    try:
        if not path.exists():
            _make_file(path, secrets.token_urlsafe(_KEY_BYTES).encode() + b"\n")
        token = _read_private(path, _TOKEN_LENGTH + 2).decode("ascii", "replace").strip()
    except OSError as error:
        raise UsageError("NoApiToken", f"{path} cannot be read or made: {error.strerror}") from error
    if len(token) < _TOKEN_LENGTH or not token.isprintable():
        raise UsageError("NoApiToken", f"{path} is damaged: remove it, and a new one is made at the next start")
    return token


def _make_file(path: Path, content: bytes) -> None:
    """Put a new secret in place whole or not at all; whoever comes second keeps the first one's."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            return
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        draft.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes:
    key = _read_private(path, _KEY_BYTES + 1)
    if len(key) != _KEY_BYTES:
        raise UsageError("NoDigestKey", f"{path} is damaged: it should hold {_KEY_BYTES} bytes")
    return key


def _read_private(path: Path, most: int) -> bytes:
    """At most `most` bytes of a regular file that nobody else can read. Raises UsageError for one that they can."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        content = file.read(most) if stat.S_ISREG(mode) else b""
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError("Unsafe", f"{path} can be read by others; secrets may be guessed: remove it or chmod 600 it")
    return content
