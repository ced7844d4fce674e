"""Whatever stands in a file: resources or problems with a place, never an exception, never for long."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import SpecError
from reconciler.loading.loader import LoadOptions, LoadResult, resource_from_document
from tests.loading.conftest import Specs, vault, widget
from tests.loading.kinds_for_tests import KINDS

relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def load_bytes(content: bytes, variables: bytes | None = None) -> LoadResult:
    with tempfile.TemporaryDirectory() as folder:
        specs = Specs(Path(folder), {"variables": {"given": 1}})
        specs.write("a.yaml", content)
        if variables is not None:
            specs.write("vars.yaml", variables)
        result = specs.load()
        again = specs.load()
    assert again.problems == result.problems
    assert not again.changed
    for problem in result.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        assert str(problem).isprintable()
        assert len(problem.message) < 1000
    for resource in result.resources.values():
        assert resource.source.line >= 1
        assert len(resource.digest) == 64
    assert result.readable
    return result


@given(st.binary(max_size=400))
@relaxed
def test_arbitrary_bytes(content: bytes) -> None:
    load_bytes(content)


_snippets = st.sampled_from(
    [
        widget("one"),
        vault("title: x"),
        "kind: Widget\n",
        "apiVersion: reconciler.dev/v1\n",
        "metadata: {name: a}\n",
        "spec:\n",
        "  size: 1\n",
        "---\n",
        "...\n",
        "&a ",
        "*a ",
        "!!x ",
        "- ",
        "? ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        "|\n",
        ">\n",
        "'",
        '"',
        "{{ given }}",
        "{{",
        "${x}",
        "\\",
        "\t",
        "\n",
        "  ",
        "#",
        "%YAML 1.1\n",
        "<<: ",
        "~",
        "null",
        "true",
        "1e5",
        "\x00",
        "\x85",
        "\u2028",
        "\ufeff",
        "ä",
        "\U0001f600",
    ]
)


@given(st.lists(_snippets | st.text(max_size=5), max_size=20))
@relaxed
def test_arbitrary_yaml(parts: list[str]) -> None:
    load_bytes("".join(parts).encode("utf-8", "surrogatepass"))


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(
        ["Widget", "Vault", "reconciler.dev/v1", "one", "Widget/one", "{{ given }}", "{{ x }}", "${x}", "5m", "red"]
    )
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_fields = st.sampled_from(
    [
        "size",
        "color",
        "ports",
        "uses",
        "note",
        "free",
        "token",
        "login",
        "script",
        "kubeconfig",
        "manifests",
        "address",
        "keys",
        "tree",
        "provider",
        "fromEnv",
        "type",
        "config",
        "children",
        "secret",
    ]
)
_specs = st.dictionaries(_fields, _values | st.dictionaries(_fields, _values, max_size=2), max_size=3) | _values
_near_documents = st.fixed_dictionaries(
    {
        "apiVersion": st.just("reconciler.dev/v1") | _values,
        "kind": st.sampled_from(["Widget", "Vault"]) | _values,
        "metadata": st.fixed_dictionaries(
            {"name": st.sampled_from(["one", "two"]) | _values}, optional={"labels": _values}
        )
        | _values,
        "spec": st.fixed_dictionaries({"size": st.integers(0, 9)}) | _specs,
    },
    optional={
        "lifecycle": st.dictionaries(
            st.sampled_from(["interval", "state", "dependsOn", "ignore", "suspend"]), _values, max_size=2
        ),
        "status": _values,
    },
)


@given(st.lists(_near_documents, min_size=1, max_size=3))
@relaxed
def test_documents_that_are_nearly_valid(documents: list[Any]) -> None:
    text = "\n---\n".join(json.dumps(one, ensure_ascii=False) for one in documents)

    load_bytes(text.encode("utf-8", "surrogatepass"))


@given(_near_documents)
@relaxed
def test_documents_from_elsewhere_that_are_nearly_valid(document: dict[str, Any]) -> None:
    try:
        resource = resource_from_document(document, KINDS, LoadOptions(), "api")
    except SpecError as error:
        assert str(error)  # noqa: PT017
    else:
        assert resource.ref.kind in KINDS


@given(
    st.binary(max_size=100)
    | st.dictionaries(st.text(max_size=4), _values, max_size=4).map(
        lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )
)
@relaxed
def test_arbitrary_variables(variables: bytes) -> None:
    load_bytes(widget("one", "size: '{{ given }}'").encode(), variables)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10_000_000,
        b"- " * 5_000_000,
        b"{a: " * 2_500_000,
        b"a: " + b"x" * 9_999_000,
        b"a: [" + b"1," * 4_900_000 + b"]",
        b"---\n" * 2_400_000,
        b"&a " * 3_000_000,
        b"a: '" + b"\n" * 9_999_000,
        b'a: "' + b"\\" * 9_999_000,
        b"a: |\n" + b"  x\n" * 2_400_000,
        b"? " * 4_000_000,
        b"!" * 9_999_000,
        b"%" * 9_999_000,
        b"{{" * 4_999_000,
        widget("one").encode() + b"  note: '" + b"{{ given }}" * 900_000 + b"'",
        b"\n---\n".join(widget(f"w{n}", "size: x").encode() for n in range(3000)),
        b"\n---\n".join(widget(f"w{n}", "size: '{{ x }}'").encode() for n in range(3000)),
        b"\n---\n".join(widget("same").encode() for n in range(3000)),
        b"\n---\n".join(widget(f"w{n}", f"size: 1\n  uses: v{n}").encode() for n in range(3000)),
        b"\n---\n".join(widget(f"w{n}", f"size: 1\n  uses: w{(n + 1) % 3000}").encode() for n in range(3000)),
    ],
    ids=lambda content: repr(content[:12]) + str(len(content)),
)
def test_large_hostile_files_end_soon(content: bytes) -> None:
    started = time.process_time()

    result = load_bytes(content)

    assert result.problems
    assert time.process_time() - started < 60
