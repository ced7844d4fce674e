"""YAML that is no spec: manifests, kubeconfigs, values of the command line. Called by all that reads such text.

The loader in C walks nested collections by recursion, and a few thousand brackets end the process without an error, so
depth is counted on the parser's events first, which need no recursion.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 100


def load_yaml_documents(text: str | bytes, loader: Any = None) -> list[Any]:
    """Every document, by the safe loader in C or a subclass of it. Raises yaml.YAMLError, also for deep nesting."""
    import yaml  # noqa: PLC0415 - costs 20 ms, and who imports this may never read any

    depth = 0
    for event in yaml.parse(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark = event.start_mark
                raise yaml.MarkedYAMLError(None, None, f"nested in more than {MAX_DEPTH} levels", mark)  # type: ignore[arg-type]  # of the parser in C
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return list(yaml.load_all(text, loader or getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def load_yaml(text: str | bytes) -> Any:
    """The one document of a text, None for none. Raises yaml.YAMLError."""
    import yaml  # noqa: PLC0415 - likewise

    documents = load_yaml_documents(text)
    if len(documents) > 1:
        raise yaml.YAMLError("more than one document")
    return documents[0] if documents else None
