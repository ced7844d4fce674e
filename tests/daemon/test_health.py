"""What the daemon tells of itself: health, metrics, logs."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from datetime import datetime

from reconciler.daemon.health import health_routes
from reconciler.daemon.metrics import Metrics
from tests.daemon.lab import Lab, document, entry, until

NAMES = (
    "reconciler_queue_depth",
    "reconciler_queue_in_work",
    "reconciler_reconcile_duration_seconds",
    "reconciler_drift_found_total",
    "reconciler_last_success_timestamp_seconds",
    "reconciler_loads_total",
    "reconciler_spec_problems",
    "reconciler_unexpected_errors_total",
)


def test_health_and_readiness_of_a_daemon_at_work(lab: Lab) -> None:
    daemon = lab.daemon()
    for path in ("/healthz", "/readyz"):
        code, body = daemon.get(path)
        assert (code, body) == (200, '{"status":"ok"}')


def test_a_daemon_whose_clock_has_stopped_is_not_healthy() -> None:
    routes = health_routes(lambda: time.monotonic() - 31, lambda: "", Metrics())
    healthz, readyz = (asyncio.run(route.endpoint(None)) for route in routes[:2])
    assert healthz.status_code == 503
    assert b"no tick for 31 s" in healthz.body
    assert readyz.status_code == 200


def test_metrics_move_with_what_happens(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}))
    lab.write("slow.yaml", document("Odd", "slow", {"text": "x", "seconds": 2}))
    daemon = lab.daemon()
    until(lambda: daemon.metric("reconciler_queue_in_work") >= 1)
    lab.await_ready("Entry/a", "Odd/slow")
    exposed = daemon.get("/metrics")[1]
    for name in NAMES:
        assert f"# TYPE {name.removesuffix('_total')}" in exposed, name
    duration = "reconciler_reconcile_duration_seconds"
    assert daemon.metric(f"{duration}_count", kind="Entry", outcome="changed") == 1
    assert daemon.metric(f"{duration}_sum", kind="Odd", outcome="changed") >= 2
    assert abs(daemon.metric("reconciler_last_success_timestamp_seconds", kind="Entry") - time.time()) < 60
    until(lambda: daemon.metric(f"{duration}_count", kind="Entry", outcome="ok") >= 2)

    drift, loads = daemon.metric("reconciler_drift_found_total", kind="Entry"), daemon.loads()
    lab.spoil("a", {"text": "spoiled"})
    until(lambda: daemon.metric("reconciler_drift_found_total", kind="Entry") == drift + 1)
    lab.write("b.yaml", "x: [")
    until(lambda: daemon.metric("reconciler_spec_problems") == 1)
    assert daemon.loads() > loads
    lab.write("b.yaml", entry("b", behave="unexpected"))
    until(lambda: daemon.metric("reconciler_unexpected_errors_total", kind="Entry") >= 1)
    assert daemon.metric("reconciler_spec_problems") == 0
    assert daemon.metric(f"{duration}_count", kind="Entry", outcome="failed") >= 1


def test_a_reported_drift_counts_as_one(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", "one", {"interval": "1s"}))
    daemon = lab.daemon()
    lab.await_ready("Entry/a")
    lab.write("a.yaml", entry("a", "one", {"interval": "1s", "mode": "notify"}))
    until(lambda: '"mode":"notify"' in lab.rows("SELECT lifecycle FROM resources")[0]["lifecycle"])
    lab.spoil("a", {"text": "spoiled"})
    lab.await_reason("Entry/a", "DriftReported")
    assert lab.text_of("a") == "spoiled"
    assert daemon.metric("reconciler_drift_found_total", kind="Entry") >= 1
    assert lab.changes("Entry/a")[-1]["action"] == "create"


def test_json_logs_are_one_object_a_line(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", behave="unexpected"))
    daemon = lab.daemon()
    until(lambda: "ZeroDivisionError" in daemon.err())
    lab.write("a.yaml", entry("a"))
    lab.await_ready("Entry/a")
    assert daemon.terminate() == 0
    entries = daemon.entries()
    for line in entries:
        assert {"event", "level", "logger", "timestamp"} <= line.keys()
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    failed = next(line for line in entries if "Traceback" in line.get("exception", ""))
    assert failed["level"] == "error"
    assert "a mistake of the kind" in failed["exception"]
    steps = [line for line in entries if line["event"] == "step ended"]
    assert {"resource", "step", "outcome"} <= steps[0].keys()
    assert [line["event"] for line in entries][-1] == "stopped"


def test_console_logs_are_for_people(lab: Lab) -> None:
    lab.configure(log={"format": "console"})
    lab.write("a.yaml", entry("a", behave="unexpected"))
    daemon = lab.daemon()
    until(lambda: "ZeroDivisionError" in daemon.err())
    assert daemon.terminate() == 0
    first = daemon.err().splitlines()[0]
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[info +\] daemon started", first)
    assert "\x1b" not in daemon.err()
    assert "Traceback (most recent call last)" in daemon.err()


def test_the_log_level_is_a_setting(lab: Lab) -> None:
    lab.configure(log={"level": "warning"})
    lab.write("a.yaml", entry("a"))
    daemon = lab.daemon()
    lab.await_ready("Entry/a")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert daemon.err() == ""


def test_each_problem_is_logged_once_however_often_the_specs_are_loaded(lab: Lab) -> None:
    lab.write("bad.yaml", "x: [")
    daemon = lab.daemon()
    until(lambda: "bad.yaml:2:1" in daemon.err())
    loads = daemon.loads()
    daemon.signal(signal.SIGHUP)
    until(lambda: daemon.loads() > loads)
    lab.write("bad.yaml", entry("a"))
    lab.await_ready("Entry/a")
    assert daemon.err().count("bad.yaml:2:1") == 1
    assert "the specs are valid again" in daemon.err()


def test_secrets_are_in_no_log(lab: Lab) -> None:
    lab.write("a.yaml", entry("a", password={"fromEnv": "RECONCILER_SECRET_A"}))
    lab.configure(log={"level": "debug"})
    daemon = lab.daemon(RECONCILER_SECRET_A="hunter2-in-the-log")
    until(lambda: lab.changes("Entry/a"))
    until(lambda: lab.changes("Entry/a")[0]["verdict"] != "")
    assert daemon.terminate() == 0
    assert "hunter2" not in daemon.err()
    assert "hunter2" not in lab.database.read_bytes().decode("latin-1")
