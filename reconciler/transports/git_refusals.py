"""Why a remote said no, told apart by git's and ssh's own words, each with what to do about it. Pure; for `git_talk`.

git and ssh have no codes for this, only messages; they are asked for in English. What is not known is passed on in
their words, as GitFailed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.errors import TransientError, UnreachableError
from reconciler.transports.git_command import GitError, clean
from reconciler.transports.process import Completed


@dataclass(frozen=True, slots=True)
class _Refusal:
    """words: what is looked for. unreachable: nobody answered, or nobody who could be trusted."""

    words: re.Pattern[str]
    reason: str
    remedy: str
    unreachable: bool = False


def _refusal(words: str, reason: str, remedy: str = "", *, unreachable: bool = False) -> _Refusal:
    return _Refusal(re.compile(words, re.IGNORECASE), reason, remedy, unreachable)


_REFUSALS = (
    _refusal(
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|Offending \w+ key",
        "HostKeyChanged",
        "the server's host key is another one than auth.knownHosts says: ask its owner, then replace the line there",
    ),
    _refusal(
        r"host key is known for|Host key verification failed",
        "UnknownHostKey",
        "no known host vouches for the server: put its line (ssh-keyscan HOST, compared with its owner) into "
        "auth.knownHosts or the file of the setting git.knownHosts",
    ),
    _refusal(
        r"Load key .*(invalid format|error in libcrypto|incorrect passphrase|unsupported)",
        "BadSshKey",
        "the ssh key cannot be used: give an unencrypted private key of a type that ssh knows",
    ),
    _refusal(
        r"Permission denied|marked as read only|deploy key .*not allowed|access denied|Permission to .+ denied"
        r"|Authentication failed for|could not read (Username|Password)|requested URL returned error: 40[13]"
        r"|HTTP Basic: Access denied|Invalid username or (password|token)|not allowed to (push|upload) (code|to)",
        "AuthenticationFailed",
        "the credentials are wrong or lack the right to do this: check auth (token or key, its scope, its expiry)",
    ),
    _refusal(
        r"server certificate verification failed|SSL certificate problem|unable to get local issuer"
        r"|no alternative certificate subject name|SSL: ",
        "UntrustedServer",
        "its certificate is not trusted: name the right authority by the setting git.caFile",
        unreachable=True,
    ),
    _refusal(
        r"unable to update url base from redirection|requested URL returned error: 30\d",
        "Redirected",
        "it redirects elsewhere, which is not followed: write where it is now, as a rule with .git at its end",
    ),
    _refusal(
        r"Could not resolve|Name or service not known|Connection (refused|timed out|reset|closed)"
        r"|Failed to connect|Couldn't connect|No route to host|Network is unreachable|Operation timed out"
        r"|Operation too slow|kex_exchange_identification|requested URL returned error: 5\d\d|Empty reply"
        r"|the remote end hung up unexpectedly|early EOF|Recv failure|Send failure",
        "GitUnreachable",
        unreachable=True,
    ),
    _refusal(
        r"repository .*not found|Repository not found|does not appear to be a git repository|could not be found"
        r"|requested URL returned error: 404|no such repository|does not exist|'[^']*' not found",
        "NoSuchRepository",
        "there is no such repository, or these credentials may not see it: check repository.url and auth",
    ),
)
_IN_MEMORY = re.compile(r'"?/proc/\d+/fd/\d+"?')
_NOISE = re.compile(
    r"@{5,}|fatal: Could not read from remote repository|Please make sure you have the correct access rights"
    r"|and the repository exists|IT IS POSSIBLE THAT SOMEONE|Someone could be eavesdropping|It is also possible"
    r"|Please contact your system administrator|Add correct host key in|remove with:|ssh-keygen -f"
    r"|error: failed to push|Everything up-to-date"
)


def refusal_of(url: str, done: Completed) -> TransientError:
    """The error for a call that failed. Its message holds what was said, printable, and the remedy where one is known.

    A UnreachableError when nothing is known about the remote, otherwise a GitError; trying again may help with each,
    because it is the other side, or the credential behind the reference, that has to change.
    """
    said = spoken(done) or f"git ended with {done.returncode}"
    found = next((one for one in _REFUSALS if one.words.search(done.stderr)), None)
    if found is None:
        return GitError("GitFailed", f"{url}: {said}", done)
    message = f"{url}: {found.remedy} ({said})" if found.remedy else f"{url}: {said}"
    return UnreachableError(found.reason, message) if found.unreachable else GitError(found.reason, message, done)


def spoken(done: Completed, count: int = 6) -> str:
    """What git and the server said, as one printable line."""
    lines = [line.strip() for line in done.stderr.splitlines()]
    telling = [line for line in lines if line and not _NOISE.search(line)]
    return clean(_IN_MEMORY.sub("what was given", "; ".join(telling[-count:])), 600)
