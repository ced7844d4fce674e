"""What a template may say: values, conditions and loops over what it is given. Called by `rendering`.

Jinja2 parses it, and whatever is not on the list is an error with its line: calls, arithmetic, assignments, macros,
imports and every filter beside a few. So there is nothing to escape through, and nothing that grows by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import SpecError

if TYPE_CHECKING:
    from jinja2 import nodes

FILTERS = frozenset({"default", "join", "length", "lower", "trim", "upper"})
TESTS = frozenset({"defined", "none"})
MAX_LOOPS = 2
_ALLOWED = frozenset(
    {
        *("Template", "Output", "TemplateData", "Name", "Const", "Getattr", "List", "Tuple", "Filter", "Test"),
        *("If", "For", "CondExpr", "Compare", "Operand", "And", "Or", "Not", "Concat"),
    }
)


def check(node: nodes.Node, loops: int = 0) -> None:
    """Raises SpecError naming the line of the first thing that a template may not say. loops: that it stands in."""
    fault = _fault(node, loops)
    if fault:
        raise SpecError("InvalidTemplate", f"line {node.lineno}: {fault}")
    inner = loops + (type(node).__name__ == "For")
    for child in node.iter_child_nodes():
        check(child, inner)


def _fault(node: nodes.Node, loops: int) -> str:
    """What is wrong with one node; "" for nothing."""
    kind = type(node).__name__
    if kind not in _ALLOWED:
        return f"{kind.lower()} is not allowed"
    if kind == "Filter" and getattr(node, "name", "") not in FILTERS:
        return f"filter {getattr(node, 'name', '')} is none of {', '.join(sorted(FILTERS))}"
    if kind == "Test" and getattr(node, "name", "") not in TESTS:
        return f"test {getattr(node, 'name', '')} is none of {', '.join(sorted(TESTS))}"
    if kind == "For":
        if loops >= MAX_LOOPS:
            return f"loops are nested in more than {MAX_LOOPS} levels"
        if type(getattr(node, "iter", None)).__name__ not in ("Name", "Getattr") or getattr(node, "recursive", False):
            return "a loop goes over a variable"
    return ""
