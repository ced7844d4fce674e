"""The entry point `reconciler`: finds a command's module only when that command is used, and ends with one exit code.

The table of exit codes is `docs/exit-codes.md`; every error's own code stands in `reconciler.errors`.
"""

from __future__ import annotations

import importlib
import os
import sys
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import click

from reconciler import __version__
from reconciler.cli import garbage
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

USAGE_CODE = 64
INTERRUPTED_CODE = 130
_COMMANDS = {
    "validate": ("reconciler.cli.check_commands", "Check specs without looking at anything else."),
    "schema": ("reconciler.cli.check_commands", "Print the JSON Schema of a kind, for editors."),
    "kinds": ("reconciler.cli.check_commands", "List the kinds that are installed."),
    "plan": ("reconciler.cli.plan_commands", "Show what apply would do, and change nothing."),
    "diff": ("reconciler.cli.plan_commands", "Show differences only; exit 1 when there are some."),
    "apply": ("reconciler.cli.apply_commands", "Plan, ask, and make it so."),
    "daemon": ("reconciler.cli.daemon_commands", "Watch the specs and keep everything as they say."),
    "get": ("reconciler.cli.look_commands", "List resources and their state."),
    "describe": ("reconciler.cli.look_commands", "Everything that is known of one resource."),
    "events": ("reconciler.cli.look_commands", "What happened, oldest first."),
    "history": ("reconciler.cli.look_commands", "The changes made to a resource, newest first."),
    "logs": ("reconciler.cli.look_commands", "The captured output of every step."),
    "create": ("reconciler.cli.change_commands", "Write desired state into the store, without a file."),
    "delete": ("reconciler.cli.change_commands", "Delete a resource that the store owns, or prune one that vanished."),
    "import": ("reconciler.cli.import_commands", "Take in what an earlier system knew."),
    "approve": ("reconciler.cli.change_commands", "Allow the change that a resource waits for, once."),
    "suspend": ("reconciler.cli.change_commands", "Leave a resource alone for a while."),
    "resume": ("reconciler.cli.change_commands", "End a suspension."),
    "reconcile": ("reconciler.cli.change_commands", "Look at a resource now and wait until that was done."),
    "sync": ("reconciler.cli.sync_commands", "Fetch and load the specs now, and wait until that was done."),
    "cluster": ("reconciler.cli.cluster_commands", "What can be done with a cluster."),
    "rsync": ("reconciler.cli.rsync_commands", "The rsync between the two nodes of a pair."),
    "sandbox": ("reconciler.cli.sandbox_commands", "The local Kubernetes API that ships with this program."),
    "host": ("reconciler.cli.host_commands", "The hosts that are trusted, and what they are known by."),
    "lab": ("reconciler.cli.lab_commands", "Two small nodes to try upgrades of node pairs on."),
    "doctor": ("reconciler.cli.doctor_commands", "Tools, database, what is stuck, why, and what to do."),
    "completion": ("reconciler.cli.sync_commands", "Print what a shell needs to complete commands."),
}


class LazyGroup(click.Group):
    """Knows every command's name and help, and imports its module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table, which is the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The real command."""
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Errors become a message and an exit code here, where it is known whether colours are wanted."""
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except BrokenPipeError:
            from reconciler.cli.render import close_output  # noqa: PLC0415 - only then

            close_output()
            return 0
        except Exception as error:  # noqa: BLE001 - the last place where anything can be told to people
            return report(error)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table, so that `--help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands from the table: asking each of them whether it is hidden would import everything."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only while somebody presses Tab

        named = [
            CompletionItem(name, help=text) for name, (_, text) in _COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*named, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """With a suggestion for a misspelt command."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - only for a typo

            close = get_close_matches(args[0], _COMMANDS, 1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="reconciler")
@click.option("--config", metavar="FILE", help="Settings file; else $RECONCILER_CONFIG, else config.yaml in the home.")
@click.option("--home", metavar="DIR", help="Where state is kept; else $RECONCILER_HOME or the setting.")
@click.option("-v", "--verbose", count=True, help="More to stderr: -v what is done, -vv how, -vvv everything.")
@click.option("--no-color", is_flag=True, help="No colours; the same as NO_COLOR=1.")
@click.pass_context
def cli(ctx: click.Context, config: str | None, home: str | None, verbose: int, no_color: bool) -> None:
    """Keep clusters, GitOps and upgrades as YAML says.

    \b
    Example:
      reconciler plan specs/        what would be done
      reconciler apply specs/       do it
      reconciler get                how it is
    """
    from reconciler.cli.session import Session  # noqa: PLC0415 - needs nothing yet, but --help does not need it

    if no_color or os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Session(config=config, home=home, verbosity=verbose)


def main() -> None:
    """Run the command line and exit. Errors are one message on stderr, never a traceback (that is -vvv)."""
    garbage.look_rarely()
    code = run(sys.argv[1:])
    garbage.look_no_more()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """The exit code of one invocation."""
    try:
        code = cli.main(arguments, prog_name="reconciler", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.Abort as end:
        from reconciler.cli.session import NotConfirmed  # noqa: PLC0415 - --help does not need it

        click.echo("nothing was changed" if isinstance(end, NotConfirmed) else "interrupted", err=True)
        return INTERRUPTED_CODE
    except click.ClickException as error:
        error.show()
        return USAGE_CODE if isinstance(error, click.UsageError) else 1
    except BrokenPipeError:  # of the last words, which nobody read
        from reconciler.cli.render import close_output  # noqa: PLC0415 - only then

        close_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED_CODE


def report(error: Exception) -> int:
    """Tell of an error on stderr; its exit code. One message; the traceback only with -vvv."""
    from reconciler.cli.render import plain  # noqa: PLC0415 - --help needs no rendering

    if "-vvv" in sys.argv:
        import traceback  # noqa: PLC0415 - only when asked for

        traceback.print_exc()
    if isinstance(error, ReconcilerError):
        click.secho(f"error: {plain(error.message)}", fg="red", err=True)
        click.echo(f"       ({error.reason})", err=True)
        return error.exit_code
    click.secho(plain(f"internal error: {type(error).__name__}: {error}"), fg="red", err=True)
    click.echo("       this is a mistake of ours; -vvv before the command shows where", err=True)
    return 1


if __name__ == "__main__":
    main()
