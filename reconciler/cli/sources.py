"""`--git`, `--branch`, `--path`: where specs come from. Used by every command that loads specs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import UsageError
from reconciler.transports.git_place import OWNER, GitPlace

if TYPE_CHECKING:
    from reconciler.loading.git_source import GitSource
    from reconciler.loading.settings import Settings

_OPTIONS = ("git", "branch", "path")


def source_options(function: Any) -> Any:
    """The options that say which repository, which branch and which folder of it, and how it is fetched."""
    for option in (
        click.option("--force-updates", is_flag=True, default=None, help="Follow a branch that was rewritten."),
        click.option("--fetch/--no-fetch", "fetch", default=True, help="Ask the repository first, or not."),
        click.option("--path", metavar="DIR", help="Folder of specs inside the repository."),
        click.option("--branch", metavar="NAME", help="Branch that counts; else the setting, else main."),
        click.option("--git", metavar="URL", help="Repository of specs, instead of a folder."),
    ):
        function = option(function)
    return function


def source_of(settings: Settings, specs: str | None, asked: Mapping[str, Any]) -> Path | GitPlace | None:
    """Where specs come from: the options, the argument, or the settings; None where nobody says. Raises UsageError.

    specs: a folder or file, or a git source as a plan file names it.
    """
    given = {name: asked[name] for name in _OPTIONS if asked.get(name) is not None}
    if specs is not None:
        if given:
            raise UsageError("TwoSources", f"name {specs} or a git repository, not both")
        return GitPlace.parse(specs) if specs.startswith(OWNER) else _folder(specs)
    chosen = settings.git
    if given or chosen.url:
        if not given and settings.specs:
            raise UsageError("TwoSources", "the settings name both specs and git.url: keep one of them")
        url = given.get("git", chosen.url)
        if not url:
            raise UsageError("NoGitUrl", "name the repository: --git URL, or the setting git.url")
        return GitPlace.checked(url, given.get("branch", chosen.branch), given.get("path", chosen.path))
    return settings.specs


def fetch_source(source: GitSource, settings: Settings, asked: Mapping[str, Any]) -> None:
    """Bring a git source up to date, unless that is not wanted. Raises what `Mirror.fetch` raises."""
    force = asked.get("force_updates")
    if asked.get("fetch", True):
        source.fetch(force=settings.git.force_updates if force is None else force)


def _folder(argument: str) -> Path:
    path = Path(argument)
    try:
        is_there = path.exists()
    except (OSError, ValueError):  # a name that no file can have
        is_there = False
    if not is_there:
        raise UsageError("NoSuchSpecs", f"{argument}: no such file or folder")
    return path
