"""validate, schema, kinds: commands that need neither a database nor a live system."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from reconciler.cli.session import Session
from reconciler.cli.variables import variables_option
from reconciler.errors import UsageError


@click.command(short_help="Check specs without looking at anything else.")
@click.argument("specs", required=False)
@variables_option
@click.option("-o", "output", type=click.Choice(["text", "json"]), default="text", help="How to print problems.")
@click.pass_obj
def validate(session: Session, specs: str | None, variables: dict[str, Any], output: str) -> int:
    """Check SPECS (a folder or a file): syntax, schema, references, cycles.

    \b
    Example:
      reconciler validate specs/
    """
    from reconciler.cli.render import plain  # noqa: PLC0415 - --help renders nothing
    from reconciler.kinds import discover  # noqa: PLC0415 - --help needs no kinds
    from reconciler.loading.loader import Loader, LoadOptions  # noqa: PLC0415
    from reconciler.loading.sources import DirectorySource  # noqa: PLC0415

    path = session.specs(specs)
    if path is None:
        raise UsageError("NoSpecs", "name a spec folder: reconciler validate specs/")
    settings = session.settings
    options = LoadOptions(
        variables=variables,
        digest_key=b"validate",
        secret_env=settings.secrets.env,
        secret_files=settings.secrets.files,
        defaults=settings.defaults,
        known=tuple,
    )
    result = Loader(DirectorySource(path), discover(settings.plugins), options).load()
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


@click.command(short_help="Print the JSON Schema of a kind, for editors.")
@click.argument("kind")
@click.pass_obj
def schema(session: Session, kind: str) -> None:
    """Print the JSON Schema of documents of KIND, every field described.

    \b
    Example:
      reconciler schema Cluster > cluster.schema.json
      # then, in a spec:  # yaml-language-server: $schema=cluster.schema.json
    """
    from reconciler.kinds import discover  # noqa: PLC0415 - --help needs no kinds
    from reconciler.loading.schema import document_schema  # noqa: PLC0415

    kinds = discover(session.settings.plugins)
    if kind not in kinds:
        raise UsageError("UnknownKind", f"no kind {kind!r}; there are: {', '.join(sorted(kinds))}")
    json.dump(document_schema(kinds[kind]), sys.stdout, indent=2)
    sys.stdout.write("\n")


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
