"""Structured logs of the daemon: a console format for people, JSON for machines. Set up once by `daemon.service`."""

from __future__ import annotations

import logging
import sys

import structlog

from reconciler.engine.listener import Listener
from reconciler.errors import ReconcilerError
from reconciler.model.plan import Change, PlannedStep
from reconciler.model.result import Result, StepOutcome

log = logging.getLogger("reconciler.changes")


def configure(form: str, level: str) -> None:
    """Everything that is logged goes to stderr, one event a line. form: console or json."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            exception_formatter=structlog.dev.plain_traceback,  # its usual one shows local variables: secrets too
        )
    )
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        renderer,
    ]
    if form == "console":
        final.pop(1)  # the console renderer draws tracebacks itself
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("watchdog", "alembic", "sqlalchemy", "urllib3", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def tell(logger: logging.Logger, error: Exception, message: str, *values: object) -> None:
    """What went wrong and will be tried again: one line when it is foreseen, a traceback for a mistake of ours."""
    if isinstance(error, ReconcilerError):
        logger.warning(f"{message}: %s", *values, error)
    else:
        logger.error(message, *values, exc_info=error)


class LogListener(Listener):
    """Logs what the executor does, with the resource and the step as fields of their own."""

    def change_started(self, change: Change) -> None:
        """Its first step is about to run."""
        log.info(
            "change started", extra={"resource": str(change.ref), "action": change.action.value, "why": change.why}
        )

    def step_ended(self, change: Change, step: PlannedStep, outcome: StepOutcome, message: str) -> None:
        """One line a step; failures are warnings."""
        level = logging.INFO if outcome is StepOutcome.DONE else logging.WARNING
        fields = {"resource": str(change.ref), "step": step.name, "outcome": outcome.value}
        log.log(level, "step ended", extra={**fields, "detail": message} if message else fields)

    def change_ended(self, result: Result) -> None:
        """The verdict."""
        level = logging.INFO if result.verdict in ("ok", "changed") else logging.WARNING
        fields = {"resource": str(result.change.ref), "verdict": result.verdict, "reason": result.reason}
        log.log(level, "change ended", extra={**fields, "detail": result.message, "seconds": round(result.duration, 3)})
