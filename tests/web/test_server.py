"""The page is bound when `serve` returns, takes given routes, refuses clearly, and runs alone as `python -m web`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from filled_store import Filling
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reconciler.errors import UsageError
from reconciler.store.database import Database
from web.asgi import create_asgi_app
from web.server import Served, serve


def test_given_routes_answer_before_the_page_and_are_guarded(database: Database) -> None:
    async def healthz(_: Request) -> Response:
        return PlainTextResponse("fine")

    stop = threading.Event()
    served = serve(create_asgi_app(database, routes=[Route("/healthz", healthz)]), "127.0.0.1", 0, stop)
    answer = httpx.get(f"{served.url}/healthz")
    assert answer.text == "fine"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert httpx.get(f"{served.url}/healthz", headers={"Host": "evil.example"}).status_code == 421
    assert httpx.get(f"{served.url}/").status_code == 200
    stop.set()
    assert served.join(10)


def test_an_address_in_use_is_said_at_once(start: Callable[..., Served], database: Database) -> None:
    served = start()
    with pytest.raises(UsageError, match=f"{served.port}") as raised:
        serve(create_asgi_app(database), "127.0.0.1", served.port, threading.Event())
    assert raised.value.reason == "AddressInUse"
    with pytest.raises(UsageError, match="not an address"):
        serve(create_asgi_app(database), "not an address", 0, threading.Event())


def test_serving_leaves_the_signals_of_its_process_alone(start: Callable[..., Served]) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    httpx.get(f"{start().url}/")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_ipv6_is_served_where_the_machine_has_it(database: Database) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    stop = threading.Event()
    served = serve(create_asgi_app(database), "::1", 0, stop)
    assert httpx.get(f"{served.url}/").status_code == 200
    stop.set()
    assert served.join(10)


def test_it_runs_alone_over_an_existing_home(filled: Filling) -> None:
    home = Path(filled.database.path).parent
    command = [sys.executable, "-m", "web", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert "7 of 16 resources" in httpx.get(f"{url}/", timeout=20).text
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_a_home_without_a_database_is_a_clear_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "web", "--home", str(tmp_path), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 64
    assert ended.stderr.splitlines() == [f"there is no database at {tmp_path / 'reconciler.db'}"]
