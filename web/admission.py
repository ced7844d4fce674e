"""Who may write: the bearer token of the API, the session that a browser opened with it, and where a request is from.

Used by `app` before every request that is not a read. Nothing is kept in memory but two counters: a session is a signed
cookie, and removing the token's file ends every session with the next start.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

LIFETIME = 12 * 3600.0
WRONG_TOKENS = (0.2, 10.0)
WRITES = (20.0, 200.0)
_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. nonce: tells it from others. expires: seconds since the epoch."""

    nonce: str
    expires: float

    @property
    def actor(self) -> str:
        """Who it is, for records."""
        return f"page session {self.nonce[:8]}"


class Allowance:
    """A bucket that fills by `rate` a second up to `burst`; safe between threads."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._left = burst
        self._at = clock()

    def take(self) -> float:
        """Take one. 0.0 when there was one, else the seconds until there will be."""
        with self._lock:
            now = self._clock()
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
            if self._left >= 1.0:
                self._left -= 1.0
                return 0.0
            return (1.0 - self._left) / self._rate


class Admission:
    """The keys of one home. token: the content of its `api-token`."""

    def __init__(self, token: str, lifetime: float = LIFETIME, clock: Callable[[], float] = time.time) -> None:
        self._digest = hashlib.sha256(token.encode()).digest()
        self._key = hmac.digest(token.encode(), b"reconciler page sessions, 1", "sha256")
        self._lifetime = lifetime
        self._clock = clock
        self.cookie = f"reconciler_{hashlib.sha256(self._key).hexdigest()[:8]}"
        self.wrong_tokens = Allowance(*WRONG_TOKENS)
        self.writes = Allowance(*WRITES)

    @property
    def lifetime(self) -> int:
        """Seconds that a session lasts."""
        return int(self._lifetime)

    def is_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not depend on how it differs."""
        return hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "replace")).digest(), self._digest)

    def admits(self, authorization: str) -> bool:
        """Whether an Authorization header brings the token."""
        return authorization[: len(_SCHEME)].lower() == _SCHEME and self.is_token(authorization[len(_SCHEME) :].strip())

    def open_session(self) -> str:
        """The cookie's value for a new session."""
        text = f"{secrets.token_hex(16)}.{int(self._clock() + self._lifetime)}"
        return f"{text}.{self._sign('session', text)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie that we signed and that has not expired; None for anything else."""
        nonce, _, rest = cookie[:200].partition(".")
        expires, _, signature = rest.partition(".")
        if not hmac.compare_digest(_bytes(self._sign("session", f"{nonce}.{expires}")), _bytes(signature)):
            return None
        return Session(nonce, float(expires)) if float(expires) > self._clock() else None

    def form_token(self, session: Session) -> str:
        """What every form of a session carries: another site cannot know it."""
        return self._sign("form", session.nonce)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(_bytes(self.form_token(session)), _bytes(given))

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "replace"), "sha256").hex()


def foreign_origin(host: str, origin: str | None, fetch_site: str | None) -> str:
    """Why a write does not come from our own page or from a program; "" when it does.

    Browsers say where a request comes from, and a page cannot change what they say. Programs say nothing.
    """
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return f"the browser says that it comes from another site ({fetch_site[:40]})"
    if origin is None:
        return ""
    try:
        found = urlsplit(origin)
    except ValueError:
        return "its Origin is no address"
    if found.scheme not in ("http", "https") or found.netloc.lower() != host.strip().lower():
        return f"it comes from {origin[:80]}"
    return ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
