"""Readers beside writers: fifty requests a second while clusters are made by file and by API (row 0-18).

How long an answer takes says as much of the machine as of us: the suite runs on few cores, beside other tests. So a
server that computes for 10 ms and waits for nobody is asked at the same time, from the same process: what it takes is
what the machine takes. The row's 500 ms hold as they are written, plus five times that, because an answer of ours takes
several turns of the scheduler where that server takes one. The soak has the machine to itself: nothing on top.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests.clusters.sandbox_lab import SandboxLab, cluster
from tests.web.write_lab import api_of, document

PATHS = (
    *("/", "/resources", "/runs", "/api/clusters", "/api/v2/clusters", "/api/v2/overview", "/api/v2/resources"),
    *("/api/v2/runs", "/api/v2/events", "/api/v2/graph", "/api/v2/tasks"),
)
READERS = 5
INTERVAL = 0.1
"""Seconds between two requests of a reader: fifty requests a second in all."""
BOUND = 0.5
_PLAIN_SERVER = """
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        began = time.thread_time()
        while time.thread_time() - began < 0.01:
            pass
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""


@dataclass
class Reader:
    """Asks one server for these paths in turn, on one connection. seconds: what each answer took."""

    url: str
    paths: Sequence[str]
    seconds: list[float] = field(default_factory=list)
    refused: list[tuple[str, int, bytes]] = field(default_factory=list)

    def read(self, over: threading.Event) -> None:
        """Until it is over. A request that is late is made at once, and none is made up for."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        number, due = 0, time.monotonic()
        while not over.is_set():
            path = self.paths[number % len(self.paths)]
            began = time.monotonic()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            self.seconds.append(time.monotonic() - began)
            if answer.status != 200:
                self.refused.append((path, answer.status, body[:300]))
            number += 1
            due = max(due + INTERVAL, time.monotonic() - INTERVAL)
            over.wait(max(due - time.monotonic(), 0.0))
        connection.close()


@contextmanager
def reading(*readers: Reader) -> Iterator[None]:
    """All of them read, each in a thread, until the end of the block."""
    over = threading.Event()
    threads = [threading.Thread(target=reader.read, args=(over,)) for reader in readers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def plain_server() -> Iterator[str]:
    """The URL of a server in a process of its own that waits for nobody."""
    process = subprocess.Popen([sys.executable, "-c", _PLAIN_SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def p95(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


def read_during_creations(lab: SandboxLab, by_api: int, by_file: int) -> tuple[float, float]:
    """p95 of our answers and of a server that waits for nobody, in seconds, while clusters are made."""
    daemon = lab.daemon()
    api = api_of(lab, daemon)
    readers = [Reader(daemon.url, PATHS[number:] + PATHS[:number]) for number in range(READERS)]
    with plain_server() as url:
        plain = Reader(url, ("/",))
        with reading(*readers, plain):
            answers = [api.ask("POST", "/api/v2/clusters", document(f"a{number}")) for number in range(by_api)]
            lab.write("all.yaml", *(cluster(f"f{number}", agents=number % 2) for number in range(by_file)))
            assert {api.ended(answer)["state"] for answer in answers} == {"succeeded"}
            lab.await_ready(*(f"Cluster/f{number}" for number in range(by_file)))
    assert [refusal for reader in readers for refusal in reader.refused] == []
    assert "write lock" not in daemon.err()
    assert "is locked" not in daemon.err()
    assert len(lab.made()) == by_api + by_file
    seconds = [taken for reader in readers for taken in reader.seconds]
    assert len(seconds) > 50
    ours, machine = p95(seconds), p95(plain.seconds)
    print(
        f"\n{len(seconds)} answers: p95 {ours * 1000:.0f} ms; of a server that waits for nobody {machine * 1000:.0f} ms"
    )
    return ours, machine


def test_row_0_18_readers_are_answered_while_clusters_are_created(lab: SandboxLab) -> None:
    ours, machine = read_during_creations(lab, by_api=3, by_file=2)
    assert ours < BOUND + 5 * machine


@pytest.mark.soak
def test_row_0_18_readers_are_quick_on_a_machine_of_their_own(lab: SandboxLab) -> None:
    ours, _ = read_during_creations(lab, by_api=10, by_file=10)
    assert ours < BOUND
