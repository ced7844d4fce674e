"""What the steps of a project share: its spec and rows, and the row of the step itself. Called by every step.

A step that only writes rows writes its own with them, in one transaction; one that reaches out says `running` first.
"""

from __future__ import annotations

import functools
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from reconciler.errors import (
    DeadlineError,
    LeaseHeldError,
    LeaseLostError,
    ReconcilerError,
    TransientError,
    WaitingError,
)
from reconciler.kind import Context, Outputs, Records
from reconciler.kinds.project import rows
from reconciler.kinds.project.spec import ProjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.transports.kube import KubeTransport

log = logging.getLogger(__name__)
_NOT_A_FAILURE = (LeaseLostError, LeaseHeldError, WaitingError)
_ERROR_LENGTH = 4000
_POLL = (0.05, 1.0)

StepFunction = Callable[[Context], Outputs | None]
Write = Callable[[Records, str], None]
"""What a step writes into the rows: given them inside the transaction that ends it, and the id of the project."""


class Done(NamedTuple):
    """What a step has for the journal, and for the rows."""

    outputs: Outputs | None = None
    write: Write | None = None


Work = Callable[[Context], Done | None]


class Told(NamedTuple):
    """A step of an initialization: its share of 100, and its names for people."""

    weight: int
    chinese: str
    english: str


STEPS: Mapping[str, Told] = {
    "resolve_credentials": Told(5, "解析凭证", "Resolve the credentials"),
    "create_repository": Told(15, "创建 Git 仓库", "Create the repository"),
    "push_template": Told(20, "推送项目模板", "Push the template"),
    "create_environments": Told(15, "创建环境", "Create the environments"),
    "create_db_records": Told(10, "创建数据库记录", "Write the records"),
    "setup_gitops": Told(30, "配置 GitOps", "Set up GitOps"),
    "finalize": Told(5, "完成初始化", "Read everything back"),
}
"""The steps of an initialization in order; their weights sum to 100."""
WAIT_READY = "wait_ready"
WAITING = Told(0, "等待就绪", "Wait until Flux is ready")


def spec_of(context: Context) -> ProjectSpec:
    """The desired project, typed."""
    assert context.resource is not None
    return ProjectSpec.of(context.resource)


def rows_of(context: Context) -> rows.Rows:
    """Its rows as they are now."""
    assert context.resource is not None
    return rows.read(context.records, context.resource.ref.name)


def tell(context: Context, text: str) -> None:
    """A line for the step's log and for the program's."""
    assert context.resource is not None
    context.log(f"{text}\n")
    log.info("%s: %s", context.resource.ref, text)


def in_the_row(reaches_out: Callable[[ProjectSpec], bool]) -> Callable[[Work], StepFunction]:
    """A step with a row of its own, of the same name: `completed` or `failed` afterwards.

    reaches_out: whether it does more than write rows; then it is `running` meanwhile.
    """

    def decorate(work: Work) -> StepFunction:
        name = work.__name__

        @functools.wraps(work)
        def run(context: Context) -> Outputs | None:
            began = context.now()
            if reaches_out(spec_of(context)):
                with context.records.transaction() as records:
                    start(records, _project_of(records, context)["id"], name, began)
            with failing(context, name, began):
                done = work(context) or Done()
                completed(context, name, began, done.write)
            return done.outputs

        return run

    return decorate


def start(records: Records, project_id: str, name: str, began: float) -> None:
    """The step runs from now on."""
    _write_step(records, project_id, name, {"status": "running", **_start(began)}, began)


@contextmanager
def failing(context: Context, name: str, began: float) -> Iterator[None]:
    """Whatever goes wrong inside makes the step and its project `failed` before it is raised on."""
    try:
        yield
    except _NOT_A_FAILURE:
        raise
    except Exception as error:
        message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
        _fail(context, name, message, began)
        raise


def completed(context: Context, name: str, began: float, write: Write | None = None) -> None:
    """The step is done, and so is what `write` does, in one transaction. began: when, in seconds since the epoch."""
    now = context.now()
    with context.records.transaction() as records:
        project = _project_of(records, context)
        if write is not None:
            write(records, project["id"])
        values = {"status": "completed", "progress": 100, **_start(began), **_end(began, now), "error": None}
        _write_step(records, project["id"], name, values, now)
        percent = _percent_after(name)
        if project["progress"] < percent:
            records.put(rows.PROJECTS, {"id": project["id"]}, {"progress": percent})


def plan_the_steps(records: Records, project_id: str, names: Mapping[str, Told], now: float) -> None:
    """A row for each step, pending; those of an earlier attempt stay as they are."""
    there = {row["step"] for row in records.list(rows.STEPS, project_id=project_id)}
    for sequence, (name, told) in enumerate(names.items(), 1):
        if name not in there:
            values = {"project_id": project_id, "step": name, "display_name": told.chinese, "sequence": sequence}
            fresh = {"display_name_en": told.english, "status": "pending", "created_at": now, "updated_at": now}
            records.put(rows.STEPS, {"id": _step_id(project_id, name)}, {**values, **fresh})


@contextmanager
def apis(context: Context) -> Iterator[Callable[[str], KubeTransport]]:
    """Gives the API of each cluster by name, one connection each."""
    with ExitStack() as stack:
        opened: dict[str, KubeTransport] = {}

        def open_(name: str) -> KubeTransport:
            if name not in opened:
                opened[name] = stack.enter_context(context.cluster(name))
            return opened[name]

        yield open_


def wait_until(context: Context, timeout: float, what: str, look: Callable[[], str], reason: str = "Deadline") -> None:
    """Until `look` returns "". Raises DeadlineError(reason) with what it said last."""
    give_up = time.monotonic() + timeout
    pause, longest = _POLL
    while missing := look():
        left = give_up - time.monotonic()
        if left <= 0:
            raise DeadlineError(reason, f"{what} within {timeout:g} s: {missing}")
        context.sleep(min(pause, longest, left))
        pause *= 1.5


def _project_of(records: Records, context: Context) -> rows.Row:
    assert context.resource is not None
    row = records.get(rows.PROJECTS, resource=context.resource.ref.name)
    if row is None:
        raise TransientError("NoRecord", f"the record of {context.resource.ref} is gone")
    return row


def _step_id(project_id: str, name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{project_id}/step/{name}"))


def _start(began: float) -> dict[str, Any]:
    return {"started_at": began, "completed_at": None, "duration": None, "error": None}


def _end(began: float, now: float) -> dict[str, Any]:
    return {"completed_at": now, "duration": max(round((now - began) * 1000), 0)}


def _write_step(records: Records, project_id: str, name: str, values: Mapping[str, Any], now: float) -> None:
    records.put(rows.STEPS, {"project_id": project_id, "step": name}, {**values, "updated_at": now})


def _fail(context: Context, name: str, message: str, began: float) -> None:
    now, shown = context.now(), message[:_ERROR_LENGTH]
    with context.records.transaction() as records:
        project = records.get(rows.PROJECTS, resource=spec_of(context).name)
        if project is None:
            return
        values = {"status": "failed", **_start(began), **_end(began, now), "error": shown}
        _write_step(records, project["id"], name, values, now)
        if name in STEPS:
            failed = {"status": "failed", "initialization_error": shown, "updated_at": now}
            records.put(rows.PROJECTS, {"id": project["id"]}, failed)


def _percent_after(name: str) -> int:
    """The project's progress once a step is done: the weights up to it."""
    names = list(STEPS)
    return sum(STEPS[one].weight for one in names[: names.index(name) + 1]) if name in STEPS else 0
