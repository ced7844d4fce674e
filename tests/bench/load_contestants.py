"""One contestant of `load`: `load_contestants.py NAME SPECS SCHEMA` prints how many seconds its work took."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

EXPECTED = 10_000


def ours(specs: Path, _schema: Any) -> Callable[[], int]:
    """All that the loader does: positions on demand, digests, references, duplicates, cycles."""
    from reconciler.kinds import discover
    from reconciler.loading.loader import DirectorySource, Loader, LoadOptions

    kinds = discover(["entry_kind"])

    def load() -> int:
        result = Loader(DirectorySource(specs), kinds, LoadOptions(digest_key=b"k" * 32)).load()
        assert not result.problems
        return len(result.resources)

    return load


def jsonschema(specs: Path, schema: Any) -> Callable[[], int]:
    """The C parser and a compiled validator, file by file."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema)
    return lambda: sum(map(validator.is_valid, documents(specs)))


def rust(specs: Path, schema: Any) -> Callable[[], int]:
    """The same with the fastest validator there is."""
    import jsonschema_rs

    validator = jsonschema_rs.validator_for(schema)
    return lambda: sum(map(validator.is_valid, documents(specs)))


def documents(specs: Path) -> Iterator[Any]:
    """Every document of every file, by PyYAML's C parser."""
    import yaml

    for path in sorted(specs.glob("*.yaml")):
        yield from yaml.load_all(path.read_bytes(), yaml.CSafeLoader)


def main() -> None:
    """Prepare, then measure."""
    name, specs, schema = sys.argv[1:]
    prepare = {"ours": ours, "jsonschema": jsonschema, "rust": rust}[name]
    work = prepare(Path(specs), json.loads(Path(schema).read_text()))
    import yaml  # imported before the clock starts, for everybody

    assert yaml.__with_libyaml__
    started = time.perf_counter()
    count = work()
    print(time.perf_counter() - started)
    assert count == EXPECTED, count


main()
