"""Whether a component answers that it is ready. Called by `control_plane` while it waits."""

from __future__ import annotations

from pathlib import Path

from reconciler.kinds.cluster.envtest.certificates import Pair

TIMEOUT = 2.0
_ENOUGH = 2000
_TAIL = 8000


def trouble(port: int, path: str, authority: Path, *, pair: Pair | None = None, token: str = "") -> str:
    """Why `https://127.0.0.1:port/path` does not answer 200 with a certificate of `authority`; "" when it does.

    pair: the certificate to ask with. token: the bearer token to ask with.
    """
    import http.client  # noqa: PLC0415 - with ssl 40 ms, and only who starts something waits for it
    import ssl  # noqa: PLC0415 - as above

    try:
        context = ssl.create_default_context(cafile=str(authority))
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            said = answer.read(_ENOUGH).decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"port {port} does not answer {path}: {error}"
    return "" if answer.status == 200 else f"port {port} answers {path} with {answer.status}: {_failing(said)}"


def last_lines(path: Path, count: int = 12) -> str:
    """The end of a log, also when it was just begun anew."""
    text = ""
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            with part.open("rb") as file:
                file.seek(max(0, part.stat().st_size - _TAIL))
                text += file.read().decode("utf-8", "replace")
        except OSError:
            continue
    lines = [line.rstrip()[-400:] for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])[-3000:] or "(it wrote no log)"


def _failing(said: str) -> str:
    """Of a list of checks those that fail, else the first line."""
    lines = said.strip().splitlines()
    return "; ".join([line for line in lines if line.startswith("[-]")] or lines[:1])[:300]
