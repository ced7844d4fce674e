"""Read models: what the CLI, the page and the API show. Nothing here writes, and secrets never leave it.

Every function takes an open Connection (`Database.read()`), so that one page is one consistent state. Every view is a
frozen dataclass whose `to_json()` gives its fields in camelCase; times are seconds since the epoch, or None.
"""

from __future__ import annotations

from reconciler.store.views.cursor import Cursor, Tail, read_cursor
from reconciler.store.views.graph import Edge, GraphView, Node, dependency_graph
from reconciler.store.views.happenings import list_events
from reconciler.store.views.overview import (
    DaemonView,
    Overview,
    ProblemView,
    RunningStep,
    SourceView,
    daemon_view,
    list_problems,
    list_sources,
    overview,
    running_steps,
)
from reconciler.store.views.resources import (
    Concern,
    ConditionView,
    DiffView,
    ResourceDetail,
    ResourceView,
    SuspensionView,
    list_resources,
    resource_detail,
)
from reconciler.store.views.runs import (
    ChangeView,
    LogChunk,
    RunDetail,
    RunView,
    StepView,
    history,
    list_runs,
    run_detail,
    step_log,
)
from reconciler.store.views.standing import STANDINGS, WRONG, Standing
from reconciler.store.views.tasks import TaskView, list_tasks, task

__all__ = [
    "STANDINGS",
    "WRONG",
    "ChangeView",
    "Concern",
    "ConditionView",
    "Cursor",
    "DaemonView",
    "DiffView",
    "Edge",
    "GraphView",
    "LogChunk",
    "Node",
    "Overview",
    "ProblemView",
    "ResourceDetail",
    "ResourceView",
    "RunDetail",
    "RunView",
    "RunningStep",
    "SourceView",
    "Standing",
    "StepView",
    "SuspensionView",
    "Tail",
    "TaskView",
    "daemon_view",
    "dependency_graph",
    "history",
    "list_events",
    "list_problems",
    "list_resources",
    "list_runs",
    "list_sources",
    "list_tasks",
    "overview",
    "read_cursor",
    "resource_detail",
    "run_detail",
    "running_steps",
    "step_log",
    "task",
]
