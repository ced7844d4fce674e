"""Which folder of which branch of which repository: checked before git ever sees it. Made by CLI and settings.

What is refused here is what git would run, guess or leak: transports that are commands (`ext::`), words that begin with
a dash, passwords in addresses, names that leave the repository. Importing it costs nothing, `--help` may do it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.errors import UsageError

OWNER = "git:"
LONGEST_URL = 300
_SCHEMES = ("https", "http", "ssh", "file")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_PATH = r"[A-Za-z0-9._~%+=,@:-][A-Za-z0-9._~%+=,@:/-]*"
_URL = re.compile(rf"(?P<scheme>https?|ssh)://(?:{_USER}@)?(?P<host>{_HOST})(?::\d{{1,5}})?/(?P<path>{_PATH})")
_FILE = re.compile(r"file:///(?P<path>[^\x00-\x1f\x7f?#]+)")
_SHORT = re.compile(rf"(?:{_USER}@)?(?P<host>{_HOST}):(?P<path>[A-Za-z0-9._~+/][A-Za-z0-9._~+=,/-]*)")
_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s]*:[^/@\s]*@")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+#=,/-]{0,199}")
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class GitPlace:
    """A folder of a branch. url: as git takes it. path: of the folder, without slashes at its ends, "" for the root."""

    url: str
    branch: str = "main"
    path: str = ""

    @classmethod
    def checked(cls, url: str, branch: str = "main", path: str = "") -> GitPlace:
        """From what somebody wrote. Raises UsageError for what is dangerous or no such thing."""
        return cls(_checked_url(url), _checked_branch(branch), _checked_path(path))

    @classmethod
    def parse(cls, owner: str) -> GitPlace:
        """From `str(place)`. Raises UsageError."""
        repository, slashes, path = owner.removeprefix(OWNER).rpartition("//")
        url, at, branch = repository.rpartition("@")
        if not (owner.startswith(OWNER) and slashes and at):
            raise UsageError("BadGitSource", f"{owner[:200]!r} is not git:URL@BRANCH//PATH")
        return cls.checked(url, branch, path)

    def __str__(self) -> str:
        """Its name as an owner: no branch and no address holds `//` where this one does, so it can be split again."""
        return f"{OWNER}{self.url}@{self.branch}//{self.path}"

    @property
    def prefix(self) -> str:
        """What the owners of its documents begin with."""
        return f"{self}/" if self.path else str(self)

    @property
    def scheme(self) -> str:
        """https, http, ssh or file."""
        scheme = self.url.partition("://")[0]
        return scheme if scheme in _SCHEMES else "ssh"

    @property
    def is_loopback(self) -> bool:
        """True when what is sent stays on this machine."""
        found = _URL.fullmatch(self.url)
        return self.scheme == "file" or (found is not None and found["host"] in _LOOPBACK)


def _checked_url(url: str) -> str:
    if _WITH_PASSWORD.match(url):
        raise UsageError(
            "PasswordInUrl",
            "the git URL holds a password: leave it out, and name a file by the setting git.tokenFile",
        )
    url = f"file://{url}" if url.startswith("/") else url
    found = _URL.fullmatch(url) or _FILE.fullmatch(url) or _SHORT.fullmatch(url)
    if found is None or len(url) > LONGEST_URL:
        raise UsageError(
            "BadGitUrl",
            f"{url[:200]!r} is not taken as a git URL: write https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, "
            f"file:///PATH or an absolute path, of at most {LONGEST_URL} characters",
        )
    path = found["path"].rstrip("/")
    if not path or "//" in path or ".." in path.split("/") or "\\" in path:
        raise UsageError("BadGitUrl", f"{url[:200]!r} is not taken as a git URL: its path is not plain")
    return url.rstrip("/")


def _checked_branch(branch: str) -> str:
    """Narrower than git's own rules: no `@`, no pattern, no option, no expression."""
    parts = branch.split("/")
    is_plain = all(part and not part.startswith((".", "-")) and not part.endswith((".", ".lock")) for part in parts)
    if not _BRANCH.fullmatch(branch) or not is_plain or ".." in branch:
        raise UsageError("BadGitBranch", f"{branch[:200]!r} is not taken as the name of a branch")
    return branch


def _checked_path(path: str) -> str:
    path = path.strip("/") if path not in (".", "./") else ""
    parts = path.split("/") if path else []
    is_plain = all(part not in ("", ".", "..", ".git") and not part.startswith("-") for part in parts)
    if not is_plain or not path.isprintable() or "\\" in path or len(path) > 200:
        raise UsageError("BadGitPath", f"{path[:200]!r} is not taken as a folder of the repository")
    return path
