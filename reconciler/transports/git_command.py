"""Running git so that nothing but our own words decide what it does. Used by `git.Mirror` and `git_talk`.

No configuration of the system, of the user or of the machine is read, no hook, helper or filter of anybody else runs,
nobody is asked for a password, only the transport of the address itself is allowed, and every call has a deadline. A
token is read by git's own child from its file: it stands in no argument, no environment and no address.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.errors import DeadlineError, ReconcilerError, TerminalError, TransientError, UsageError
from reconciler.transports.git_place import GitPlace
from reconciler.transports.process import Completed, ProcessRunner, last_lines

LONGEST_LISTING = 32_000_000
"""Bytes of a tree's listing: some 300,000 files below the folder of specs."""
_BLOCK = 512
_TOO_LARGE = -25  # SIGXFSZ
_SAYS_NOTHING = (
    "fatal: Could not read from remote repository.",
    "Please make sure you have the correct access rights",
    "and the repository exists.",
)
_AGENT = ("SSH_AUTH_SOCK",)  # which keeps keys for us and never gives them out; it is not forwarded
_INTO_FILE = 'out=$1 limit=$2; shift 2; ulimit -f "$limit"; exec "$@" >"$out"'
_CREDENTIALS = (
    '!f() { test "$1" = get || return 0; '
    'test -z "$RECONCILER_GIT_USER" || printf "username=%s\\n" "$RECONCILER_GIT_USER"; '
    'printf "password=%s\\n" "$(cat -- "$RECONCILER_GIT_TOKEN_FILE")"; }; f'
)


class GitError(TransientError):
    """git said no. completed: how it ended."""

    def __init__(self, reason: str, message: str, completed: Completed | None = None) -> None:
        super().__init__(reason, message)
        self.completed = completed


@dataclass(frozen=True, slots=True)
class GitAccess:
    """How remotes are reached: from the settings. Paths are absolute; None: what ssh, or the system, has by default.

    timeout: seconds that one call may take. token_file: for https; username: what goes with it.
    """

    timeout: float = 60.0
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    token_file: Path | None = None
    username: str = "git"
    ca_file: Path | None = None

    def check(self, place: GitPlace) -> None:
        """Raise UsageError for credentials that must not be used for this place, or that others can read."""
        if place.scheme == "http" and self.token_file is not None and not place.is_loopback:
            raise UsageError("TokenOverHttp", f"{place.url}: a token is never sent without TLS: write https://")
        used = {"ssh": self.ssh_key, "http": self.token_file, "https": self.token_file}.get(place.scheme)
        if used is not None:
            _check_private(used)

    def variables(self, place: GitPlace) -> dict[str, str]:
        """What git's environment needs to reach a place."""
        if place.scheme == "ssh":
            agent = {name: os.environ[name] for name in _AGENT if name in os.environ}
            return {"GIT_SSH_COMMAND": shlex.join(self._ssh()), "GIT_SSH_VARIANT": "ssh", **agent}
        found: dict[str, str] = {}
        if self.ca_file is not None:
            found["GIT_SSL_CAINFO"] = str(self.ca_file)
        if self.token_file is not None and place.scheme.startswith("http"):
            has_user = "@" in place.url.partition("://")[2].partition("/")[0]
            found["RECONCILER_GIT_USER"] = "" if has_user else self.username
            found["RECONCILER_GIT_TOKEN_FILE"] = str(self.token_file)
        return found

    def configuration(self, place: GitPlace) -> list[tuple[str, str]]:
        """What git's configuration needs to reach a place."""
        if self.token_file is None or not place.scheme.startswith("http"):
            return []
        return [("credential.helper", _CREDENTIALS)]

    def _ssh(self) -> list[str]:
        """An ssh that asks nobody, trusts only hosts that are known, and forwards nothing."""
        options = [
            *("BatchMode=yes", "StrictHostKeyChecking=yes", "UpdateHostKeys=no", "PasswordAuthentication=no"),
            *("ForwardAgent=no", "ClearAllForwardings=yes", "PermitLocalCommand=no", "ControlPath=none"),
            *(f"ConnectTimeout={max(1, round(self.timeout / 2))}", "ServerAliveInterval=15", "ServerAliveCountMax=2"),
        ]
        if self.ssh_key is not None:
            options += ["IdentitiesOnly=yes", f"IdentityFile={_quoted(self.ssh_key)}"]
        if self.known_hosts is not None:
            options += [f"UserKnownHostsFile={_quoted(self.known_hosts)}", "GlobalKnownHostsFile=/dev/null"]
        return ["ssh", "-F", "/dev/null", *(part for option in options for part in ("-o", option))]


class GitCommand:
    """git on one bare repository. cancelled: as for ProcessRunner; what it returns ends a call. runner: replaces it."""

    def __init__(
        self,
        place: GitPlace,
        access: GitAccess,
        home: Path,
        cancelled: Callable[[], Exception | None] | None = None,
        *,
        runner: ProcessRunner | None = None,
    ) -> None:
        self._place = place
        self._access = access
        self._home = home
        self._runner = runner or ProcessRunner(cancelled=cancelled)

    def try_run(self, repository: Path, *arguments: str, stdin: str | None = None) -> Completed:
        """Run git and wait, however it ends. Raises GitError("GitDeadline") past the deadline."""
        return self._wait(["git", *arguments], repository, stdin)

    def run(self, repository: Path, *arguments: str) -> str:
        """What git prints. Raises GitError when it fails."""
        done = self.try_run(repository, *arguments)
        if done.returncode:
            raise self.error("GitFailed", done)
        return done.stdout

    def read(self, repository: Path, *arguments: str, limit: int, stdin: str | None = None) -> bytes:
        """All bytes that git prints, through a file: there may be more of them than a log should hold.

        Raises GitError when it fails, or prints more than `limit`.
        """
        out = self._home / f"out-{os.getpid()}-{os.urandom(6).hex()}"
        descriptor = os.open(out, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "rb") as stream:
            try:
                blocks = str(limit // _BLOCK + 1)
                command = ["/bin/sh", "-c", _INTO_FILE, "sh", str(out), blocks, "git", *arguments]
                done = self._wait(command, repository, stdin)
            finally:
                out.unlink(missing_ok=True)
            content = stream.read(limit + 1)
        if done.returncode == _TOO_LARGE or len(content) > limit:
            raise GitError("GitTooLarge", f"{self._place.url}: git {arguments[0]} prints more than {limit:,} bytes")
        if done.returncode:
            raise self.error("GitFailed", done)
        return content

    def error(self, reason: str, done: Completed) -> GitError:
        """A failed call as an error that says what git said, made printable."""
        lines = [line for line in last_lines(done.stderr).splitlines() if line.strip() not in _SAYS_NOTHING]
        said = clean("; ".join(lines[-3:]), 600) or f"it ended with {done.returncode}"
        return GitError(reason, f"{self._place.url}: {said}", done)

    def _wait(self, command: Sequence[str], repository: Path, stdin: str | None) -> Completed:
        environment = self._environment(repository)
        try:
            return self._runner.run(command, timeout=self._access.timeout, stdin=stdin, env=environment)
        except DeadlineError as error:
            seconds = f"{self._access.timeout:g}"
            raise GitError("GitDeadline", f"{self._place.url}: git did not answer within {seconds} s") from error
        except TerminalError as error:
            if error.reason != "MissingTool":
                raise
            raise UsageError("MissingTool", "git is not installed: a git source needs it") from error

    def _environment(self, repository: Path) -> dict[str, str]:
        configuration = [
            ("core.hooksPath", "/dev/null"),
            ("core.attributesFile", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("credential.helper", ""),
            ("credential.interactive", "false"),
            ("fetch.recurseSubmodules", "false"),
            ("gc.auto", "2000"),
            ("gc.autoDetach", "false"),
            ("http.followRedirects", "false"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", "30"),
            ("log.showSignature", "false"),
            ("maintenance.auto", "false"),
            ("protocol.allow", "never"),
            (f"protocol.{self._place.scheme}.allow", "always"),
            *self._access.configuration(self._place),
        ]
        found = {
            "GIT_DIR": str(repository),
            "HOME": str(self._home),  # where curl and git would look for somebody's passwords
            "LC_ALL": "C.UTF-8",
            "GIT_ALLOW_PROTOCOL": self._place.scheme,
            "GIT_ASKPASS": "",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "SSH_ASKPASS": "",
            "GIT_CONFIG_COUNT": str(len(configuration)),
        }
        for number, (key, value) in enumerate(configuration):
            found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return found | self._access.variables(self._place)


def clean(text: str, length: int = 200) -> str:
    """Somebody else's text as one printable line."""
    line = "".join(character if character.isprintable() else "·" for character in " ".join(text.split()))
    return line if len(line) <= length else f"{line[: length - 1]}…"


def _quoted(path: Path) -> str:
    """A path as ssh reads one in an option."""
    if '"' in str(path) or "\n" in str(path) or "%" in str(path):
        raise UsageError("BadSetting", f"{str(path)[:200]!r}: ssh takes no such path")
    return f'"{path}"'


def read_private(path: Path) -> str:
    """The text of a file that holds a secret. Raises UsageError unless it is there, and for its owner alone."""
    _check_private(path)
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise UsageError("Unreadable", f"{path} cannot be read as text") from error


def _check_private(path: Path) -> None:
    """Raise UsageError unless a file is there, and for its owner alone."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError("Unreadable", f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UsageError("Unsafe", f"{path} can be read or written by others: chmod 600 {path}")


def is_damage(error: ReconcilerError) -> bool:
    """Whether an error may come from a damaged repository, and not from waiting, stopping or too much of something."""
    return isinstance(error, GitError) and error.reason == "GitFailed"
