"""Variables in documents: `{{ name }}` in string values, from `vars.yaml` beside the specs and from `-e`.

An expression is a name, attributes of it, and filters from a fixed list; Jinja2 parses it, and the few node types that
are allowed are evaluated here. So there is no code to escape from: attributes are keys of mappings and nothing else.

    {{ region }}   {{ network.cidr }}   {{ owner | lower }}   {{ tags | join(",") }}   {{ size | default(3) | int }}

Filters: default(value), int, join(separator), lower, replace(old, new), string, trim, upper. `{{ "{{" }}` is a literal
`{{`. Loops, calls, arithmetic, tests, comparisons, subscripts and `{% %}` are errors, and so is an unknown name. A
value that is one expression and nothing else keeps the type of the result. Variables may refer to variables; a loop is
an error that names it. Only documents are rendered, never anything that came from a live system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.errors import SpecError
from reconciler.loading.messages import Finding
from reconciler.loading.reader import MAX_BYTES, MAX_NODES, Path, weigh
from reconciler.loading.text import shorten, suggestion

if TYPE_CHECKING:
    import jinja2

OPENING = "{{"
BLOCK = "{%"
_MAX_TEMPLATE = 200_000
_MAX_EXPRESSIONS = 20_000
_MAX_CHAIN = 20


class VariableError(SpecError):
    """An expression that is not allowed or has no value. Never holds the text around the expression."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidVariable", message)


def uses_variables(value: Any) -> bool:
    """True when a string somewhere in `value` holds an expression."""
    if isinstance(value, str):
        return OPENING in value or BLOCK in value
    if isinstance(value, dict):
        return any(map(uses_variables, value.values()))
    return isinstance(value, list) and any(map(uses_variables, value))


class Variables:
    """Variables by name, resolved when asked for. One object serves all documents of a load."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._raw = dict(values)
        self._resolved: dict[str, Any] = {}
        self._resolving: list[str] = []
        self._failed: dict[str, str] = {}  # remembered as well, or a failure deep down would be found again and again

    def resolve_all(self) -> list[Finding]:
        """Resolve every variable. What cannot be is returned, with paths that start with the variable's name."""
        findings: list[Finding] = []
        for name in self._raw:
            try:
                self.value(name)
            except VariableError as error:
                findings.append(Finding((name,), error.message))
        return findings

    def value(self, name: str) -> Any:
        """The value of a variable, its own expressions rendered. Raises VariableError."""
        if name in self._resolved:
            return self._resolved[name]
        if name in self._failed:
            raise VariableError(self._failed[name])
        if name in self._resolving:
            loop = [*self._resolving[self._resolving.index(name) :], name]
            raise VariableError(f"template loop: {' -> '.join(map(shorten, loop))}")
        if name not in self._raw:
            raise _UndefinedError(f'undefined variable "{shorten(name)}"{suggestion(name, self._raw)}')
        self._resolving.append(name)
        try:
            findings: list[Finding] = []
            value = self.rendered(self._raw[name], findings, Budget())
            if findings:
                self._failed[name] = findings[0].message
                raise VariableError(findings[0].message)
        finally:
            self._resolving.pop()
        self._resolved[name] = value
        return value

    def rendered(self, value: Any, findings: list[Finding], budget: Budget, path: Path = ()) -> Any:
        """`value` with every expression in its strings rendered; what is wrong is added to `findings`."""
        if isinstance(value, str):
            if not uses_variables(value):
                return value
            try:
                budget.expressions(value.count(OPENING))
                result = self._render(value)
                budget.spend(result)
            except VariableError as error:
                findings.append(Finding(path, error.message))
                return value
            return result
        if isinstance(value, dict):
            return {key: self.rendered(member, findings, budget, (*path, key)) for key, member in value.items()}
        if isinstance(value, list):
            return [self.rendered(member, findings, budget, (*path, i)) for i, member in enumerate(value)]
        return value

    def _render(self, text: str) -> Any:
        parts = _parse(text)
        values = [part if isinstance(part, str) else part(self) for part in parts]
        if len(parts) == 1 and not isinstance(parts[0], str):
            return values[0]
        if sum(len(value) if isinstance(value, str) else 20 for value in values) > MAX_BYTES:
            raise VariableError(f"the rendered text has more than {MAX_BYTES:,} characters")
        return "".join(map(_as_text, values))


class Budget:
    """Bounds what the variables of one file may cost and what they may make of it."""

    def __init__(self) -> None:
        self._nodes = MAX_NODES
        self._characters = MAX_BYTES
        self._expressions = _MAX_EXPRESSIONS

    def expressions(self, count: int) -> None:
        """Take `count` expressions. Raises VariableError when there are too many."""
        self._expressions -= count
        if self._expressions < 0:
            raise VariableError(f"more than {_MAX_EXPRESSIONS:,} expressions in one file")

    def spend(self, value: Any) -> None:
        """Take a rendered value. Raises VariableError when all of them together are too large."""
        nodes, characters, _ = weigh(value)
        self._nodes -= nodes
        self._characters -= characters
        if self._nodes < 0 or self._characters < 0:
            raise VariableError("the document grows too large with its variables filled in")


Evaluate = Callable[[Variables], Any]


def _parse(text: str) -> list[str | Evaluate]:
    """The parts of a template: literal texts and expressions. Raises VariableError."""
    import jinja2  # noqa: PLC0415  # 50 ms, only for documents that hold an expression
    from jinja2 import nodes  # noqa: PLC0415  # likewise

    if BLOCK in text:
        raise VariableError(f"{BLOCK} is not allowed: only names and filters in {{{{ }}}}")
    if len(text) > _MAX_TEMPLATE:
        raise VariableError(f"a text with expressions has more than {_MAX_TEMPLATE:,} characters")
    try:
        template = _environment().parse(text)
    except (jinja2.TemplateError, RecursionError) as error:
        message = getattr(error, "message", None) or "too deeply nested"
        raise VariableError(f"not a valid expression: {shorten(str(message))}") from error
    parts: list[str | Evaluate] = []
    for statement in template.body:
        assert isinstance(statement, nodes.Output)  # without blocks there is nothing else
        for node in statement.nodes:
            parts.append(node.data if isinstance(node, nodes.TemplateData) else _compile(node))
    return parts


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415  # 50 ms, only for documents that hold an expression

    # NUL cannot occur in a document, so `{#` is text like any other; a final line break belongs to the value.
    return jinja2.Environment(  # noqa: S701  # nothing is rendered by Jinja2, and nothing is HTML
        comment_start_string="\0#", comment_end_string="#\0", keep_trailing_newline=True
    )


def _compile(node: Any, length: int = 0) -> Evaluate:
    """An allowed expression as a function. length: of the chain of attributes and filters around it."""
    from jinja2 import nodes  # noqa: PLC0415  # loaded by the caller

    if length > _MAX_CHAIN:
        raise VariableError(f"more than {_MAX_CHAIN} attributes and filters in one expression")
    if isinstance(node, nodes.Const):
        constant = node.value
        return lambda _: constant
    if isinstance(node, nodes.Name):
        name = node.name
        return lambda variables: variables.value(name)
    if isinstance(node, nodes.Getattr):
        owner, attribute = _compile(node.node, length + 1), node.attr
        return lambda variables: _attribute(owner(variables), attribute)
    if isinstance(node, nodes.Filter) and node.node is not None:
        return _compile_filter(node, length)
    raise VariableError(f"{_CONSTRUCTS.get(type(node).__name__, 'this')} is not allowed in an expression")


_CONSTRUCTS = {"Call": "a call", "Getitem": "a subscript", "Test": "a test", "Compare": "a comparison"}
_CONSTRUCTS |= dict.fromkeys(("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Neg", "Pos"), "arithmetic")
_CONSTRUCTS |= {"CondExpr": "a condition", "Concat": "~", "And": "and", "Or": "or", "Not": "not"}


def _compile_filter(node: Any, length: int) -> Evaluate:
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise VariableError(f"filter {shorten(node.name)} takes plain arguments only")
    if node.name not in FILTERS:
        raise VariableError(f'unknown filter "{shorten(node.name)}"{suggestion(node.name, FILTERS)}')
    arguments = [_compile(argument, length + 1) for argument in node.args]
    counts, apply = FILTERS[node.name]
    if len(arguments) not in counts:
        raise VariableError(f"filter {node.name} takes {' or '.join(map(str, counts))} arguments, not {len(arguments)}")
    subject = _compile(node.node, length + 1)
    if node.name == "default":
        return lambda variables: _default(variables, subject, arguments[0])
    return lambda variables: apply(subject(variables), *(argument(variables) for argument in arguments))


class _UndefinedError(VariableError):
    """A name or attribute without a value: what `default` replaces."""


def _default(variables: Variables, subject: Evaluate, fallback: Evaluate) -> Any:
    try:
        return subject(variables)
    except _UndefinedError:
        return fallback(variables)


def _attribute(owner: Any, attribute: str) -> Any:
    if isinstance(owner, Mapping) and attribute in owner:
        return owner[attribute]
    known = [str(key) for key in owner] if isinstance(owner, Mapping) else []
    raise _UndefinedError(f'undefined attribute "{shorten(attribute)}"{suggestion(attribute, known)}')


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list) or value is None:
        raise VariableError("a mapping, a list or nothing cannot stand inside a text")
    return str(value)


def _to_int(value: Any) -> int:
    try:
        if len(str(value)) > 20:
            raise ValueError
        return int(value)
    except (TypeError, ValueError) as error:
        raise VariableError("int: the value is not a whole number") from error


def _replace(value: Any, old: Any, new: Any) -> str:
    text, old, new = _as_text(value), _as_text(old), _as_text(new)
    if len(text) + text.count(old) * len(new) > MAX_BYTES:
        raise VariableError(f"replace: the text grows beyond {MAX_BYTES:,} characters")
    return text.replace(old, new)


def _join(value: Any, separator: Any = "") -> str:
    if not isinstance(value, list):
        raise VariableError("join: the value is not a list")
    return _as_text(separator).join(map(_as_text, value))


FILTERS: Mapping[str, tuple[Sequence[int], Callable[..., Any]]] = {
    "default": ((1,), _default),
    "int": ((0,), _to_int),
    "join": ((0, 1), _join),
    "lower": ((0,), lambda value: _as_text(value).lower()),
    "replace": ((2,), _replace),
    "string": ((0,), _as_text),
    "trim": ((0,), lambda value: _as_text(value).strip()),
    "upper": ((0,), lambda value: _as_text(value).upper()),
}
"""How many arguments each filter takes, and what it does."""
