"""validate, schema, kinds: commands that need neither a database nor a live system."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.completing import complete_kind
from reconciler.cli.session import Session
from reconciler.cli.sources import fetch_source, source_options
from reconciler.cli.variables import variables_option
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.loading.loader import LoadResult
    from reconciler.loading.settings import Settings
    from reconciler.transports.git_place import GitPlace


@click.command(short_help="Check specs without looking at anything else.")
@click.argument("specs", required=False)
@source_options
@variables_option
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print problems.")
@click.pass_obj
def validate(session: Session, /, specs: str | None, variables: dict[str, Any], output: str, **asked: Any) -> int:
    """Check SPECS (a folder or a file): syntax, schema, references, cycles.

    \b
    Example:
      reconciler validate specs/
    """
    from reconciler.cli.render import plain  # noqa: PLC0415 - --help renders nothing

    where = session.source(specs, asked)
    if where is None:
        raise UsageError("NoSpecs", "name a spec folder: reconciler validate specs/")
    result = _loaded(session.settings, where, variables, asked)
    if output == "json":
        problems = [
            {"path": one.path, "line": one.line, "column": one.column, "message": one.message}
            for one in result.problems
        ]
        click.echo(json.dumps({"resources": len(result.resources), "problems": problems}, indent=2))
    else:
        for problem in result.problems:
            click.secho(plain(str(problem)), fg="red", err=True)
        verdict = f"{len(result.problems)} problems" if result.problems else "all valid"
        click.echo(f"{len(result.resources)} resources in {len(result.owners)} files: {verdict}")
    return 1 if result.problems else 0


def _loaded(
    settings: Settings, where: Path | GitPlace, variables: Mapping[str, Any], asked: Mapping[str, Any]
) -> LoadResult:
    """What a folder or a repository says, fetched first."""
    from reconciler.kinds import discover  # noqa: PLC0415 - --help needs no kinds
    from reconciler.loading.loader import DocumentSource, Loader, LoadOptions  # noqa: PLC0415
    from reconciler.loading.sources import DirectorySource  # noqa: PLC0415

    options = LoadOptions(
        variables=variables,
        digest_key=b"validate",
        secret_env=settings.secrets.env,
        secret_files=settings.secrets.files,
        defaults=settings.defaults,
        known=tuple,
    )
    source: DocumentSource
    if isinstance(where, Path):
        source = DirectorySource(where)
    else:
        from reconciler.loading.git_source import open_git_source, restricted  # noqa: PLC0415 - only for a git source

        source = opened = open_git_source(settings, where)
        options = restricted(options, settings.git)
        fetch_source(opened, settings, asked)
    return Loader(source, discover(settings.plugins), options).load()


@click.command(short_help="Print the JSON Schema of a kind, for editors.")
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.option(
    "--write", "folder", metavar="DIR", help="Write those of all kinds into a folder, and one for all of them."
)
@click.pass_obj
def schema(session: Session, kind: str | None, folder: str | None) -> None:
    """Print the JSON Schema of documents of KIND, every field described, or write those of all kinds.

    \b
    Example:
      reconciler schema --write .schemas
      # then, in a spec:  # yaml-language-server: $schema=../.schemas/all.schema.json
    """
    from reconciler.kinds import discover  # noqa: PLC0415 - --help needs no kinds
    from reconciler.loading.schema import document_schema  # noqa: PLC0415

    kinds = discover(session.settings.plugins)
    if (kind is None) == (folder is None):
        raise UsageError("WhichSchema", "name a kind, or a folder with --write")
    if folder is not None:
        for path in _write_schemas({name: document_schema(kinds[name]) for name in kinds}, Path(folder)):
            click.echo(path)
        return
    if kind is None or kind not in kinds:
        raise UsageError("UnknownKind", f"no kind {kind!r}; there are: {', '.join(sorted(kinds))}")
    json.dump(document_schema(kinds[kind]), sys.stdout, indent=2)
    sys.stdout.write("\n")


def _write_schemas(schemas: Mapping[str, Any], folder: Path) -> list[Path]:
    """A file a kind, and `all.schema.json` that picks the right one by `kind`. Returns what was written."""
    names = {kind: f"{kind.lower()}.schema.json" for kind in sorted(schemas)}
    choice = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A document of any kind",
        "type": "object",
        "required": ["kind"],
        "properties": {"kind": {"enum": list(names)}},
        "allOf": [
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": name}} for kind, name in names.items()
        ],
    }
    written = {name: schemas[kind] for kind, name in names.items()} | {"all.schema.json": choice}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in written.items():
            draft = folder / f".{name}.{os.getpid()}"
            draft.write_text(json.dumps(document, indent=2) + "\n")
            draft.replace(folder / name)
    except OSError as error:
        raise UsageError("CannotWrite", f"{folder}: {error.strerror}") from error
    return [folder / name for name in written]


@click.command(short_help="List the kinds that are installed.")
@click.pass_obj
def kinds(session: Session) -> None:
    """List the kinds that are installed, with where they come from.

    \b
    Example:
      reconciler kinds
    """
    from reconciler.cli.render import table  # noqa: PLC0415 - --help prints no table
    from reconciler.kinds import discover  # noqa: PLC0415

    packages = discover(session.settings.plugins).packages
    rows = [[name, package.module, package.kind.recovery] for name, package in sorted(packages.items())]
    for line in table(rows, ("KIND", "MODULE", "RECOVERY")):
        click.echo(line)
