"""Runs the command blocks of a page as its reader would, and compares what they print. Used by the tests beside it.

A page is run from top to bottom in one folder, with one environment:

    ```console             a line after `$ ` is a command, `> ` goes on with it; what follows is what it prints
    ```sh                  commands without what they print
    ```yaml file=PATH      the block is written to PATH first (any language, as long as it says `file=`)

Every command must end with 0, so a page that shows a refusal shows `echo $?` as well. What is printed, stdout and
stderr as a terminal mixes them, is compared line by line: `...` stands for anything within a line, and on a line of its
own for any lines. Runs of spaces count as one, empty lines do not count, and durations, times of day and ports are not
compared. A command for which nothing is shown may print anything. `^C` ends a command that runs until it is
interrupted: it is, once it has printed what is shown.
"""

from __future__ import annotations

import difflib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT = 120.0
INTERRUPT = "^C"
_BLOCK = re.compile(r"^```(\w+)[ \t]*(.*)$")
_ENDS = "```"
_NOT_COMPARED = (
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\dZ?"), "TIME"),
    (re.compile(r"\b\d+(?:\.\d+)?(?:ms|s|m|h|d)(?:\d+[smhd])?\b"), "DURATION"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), r"\1:PORT"),
)
_KEEP_STATE = 'trap \'export -p > "$STATE"\' EXIT\n[ ! -f "$STATE" ] || . "$STATE"\ncd -- "$PWD"\n'


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. line: of its first line, from 1. file: where its text belongs, "" for commands."""

    language: str
    file: str
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command:
    """What is typed, and what the page says that it prints (without the `^C`)."""

    text: str
    line: int
    shown: tuple[str, ...] = ()

    @property
    def is_interrupted(self) -> bool:
        """True when the page ends it with `^C`."""
        return bool(self.shown) and self.shown[-1] == INTERRUPT

    @property
    def expected(self) -> tuple[str, ...]:
        """What it prints."""
        return self.shown[:-1] if self.is_interrupted else self.shown


def blocks(page: str) -> Iterator[Block]:
    """Every fenced block of a page that names its language."""
    language, file, start, lines = "", "", 0, list[str]()
    for number, line in enumerate(page.splitlines(), 1):
        if language and line.rstrip() == _ENDS:
            yield Block(language, file, start, tuple(lines))
            language = ""
        elif language:
            lines.append(line)
        elif (opened := _BLOCK.match(line)) is not None:
            language, file, start, lines = opened[1], opened[2].partition("file=")[2].strip(), number + 1, []


def commands(block: Block) -> Iterator[Command]:
    """The commands of a `console` or `sh` block."""
    if block.language == "sh":
        yield Command("set -e\n" + "\n".join(block.lines), block.line)
        return
    typed: list[str] = []
    shown: list[str] = []
    start = block.line
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            if typed:
                yield Command("\n".join(typed), start, tuple(shown))
            typed, shown, start = [line[2:]], [], number
        elif line.startswith("> ") and typed and not shown:
            typed.append(line[2:])
        else:
            shown.append(line)
    if typed:
        yield Command("\n".join(typed), start, tuple(shown))


def mismatch(expected: Sequence[str], printed: str) -> str:
    """What differs between the lines of a page and what was printed; "" when nothing does."""
    if not expected:
        return ""
    wanted, found = _comparable(expected), _comparable(printed.splitlines())
    pattern = "".join("(?:.*\n)*?" if line == "..." else _line_pattern(line) + "\n" for line in wanted)
    if re.fullmatch(pattern, "".join(f"{line}\n" for line in found)):
        return ""
    return "\n".join(difflib.unified_diff(wanted, found, "the page", "printed", lineterm="", n=20))


def _comparable(lines: Sequence[str]) -> list[str]:
    found = []
    for line in lines:
        for pattern, instead in _NOT_COMPARED:
            line = pattern.sub(instead, line)
        if line := re.sub(r"\s+", " ", line).strip():
            found.append(line)
    return found


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.split("..."))


@dataclass(frozen=True, slots=True)
class Followed:
    """What came of following a page. problem: "" when everything was as the page says."""

    commands: int
    problem: str


class Reader:
    """Somebody who types a page's commands in a folder, with our command in PATH and a home of their own.

    prelude: shell text before every command. while_running: called with what a command that runs until it is
    interrupted has printed, just before the interrupt. programs: a folder that comes first in PATH.
    """

    def __init__(
        self,
        folder: Path,
        home: Path,
        prelude: str = "",
        while_running: Callable[[str], None] = lambda _printed: None,
        programs: Path | None = None,
    ) -> None:
        self._folder = folder
        self._prelude = prelude
        self._while_running = while_running
        self._state = home.parent / f"{home.name}.state"
        clean = clean_environment(home)
        if programs is not None:
            clean["PATH"] = f"{programs}{os.pathsep}{clean['PATH']}"
        self._environ = clean | {"PWD": str(folder), "STATE": str(self._state)}

    def follow(self, page: Path) -> int:
        """Do what the page says; how many commands that were. Raises AssertionError naming the page's line."""
        count = 0
        for block in blocks(page.read_text()):
            if block.file:
                target = self._folder / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("".join(f"{line}\n" for line in block.lines))
            elif block.language in ("console", "sh"):
                for command in commands(block):
                    self._type(page.name, command)
                    count += 1
        return count

    def end(self) -> None:
        """Stop what commands leave running: the sandboxes of every home below the folder, and of our own."""
        homes = {Path(self._environ["RECONCILER_HOME"])} | {
            path.parent for path in self._folder.glob("**/sandbox") if path.is_dir()
        }
        for home in homes:
            if (home / "sandbox").is_dir():
                stop = ["reconciler", "--home", str(home), "sandbox", "stop"]
                subprocess.run(stop, env=self._environ, capture_output=True, timeout=TIMEOUT, check=False)

    def _type(self, page: str, command: Command) -> None:
        place = f"{page}:{command.line}: $ {command.text}"
        script = f"{_KEEP_STATE}{self._prelude}{command.text}\n"
        child = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        printed = _listen(child, command, self._while_running)
        if child.returncode != 0:
            raise AssertionError(f"{place}\nended with {child.returncode}:\n{printed}")
        if difference := mismatch(command.expected, printed):
            raise AssertionError(f"{place}\n{difference}")


def _listen(child: subprocess.Popen[bytes], command: Command, while_running: Callable[[str], None]) -> str:
    """What the command prints until it ends; an endless one is interrupted when it has said what is expected."""
    assert child.stdout is not None
    printed = b""
    interrupted = False
    give_up = time.monotonic() + TIMEOUT
    with child, selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        try:
            while time.monotonic() < give_up:
                if selector.select(timeout=1.0):
                    part = os.read(child.stdout.fileno(), 65536)
                    if not part:
                        break
                    printed += part
                if command.is_interrupted and not interrupted and not mismatch(command.expected, printed.decode()):
                    while_running(printed.decode())
                    os.killpg(child.pid, signal.SIGINT)
                    interrupted = True
            else:
                raise AssertionError(f"$ {command.text}\ndid not end within {TIMEOUT:.0f} s:\n{printed.decode()}")
        except BaseException:
            os.killpg(child.pid, signal.SIGKILL)
            raise
    return printed.decode()


def clean_environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of this machine's user is found: only the home, and our command in PATH."""
    ours = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE")
    kept = {name: os.environ[name] for name in ours if name in os.environ}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home.parent),
        "RECONCILER_HOME": str(home),
        "RECONCILER_WEB_PORT": "0",
        "NO_COLOR": "1",
    }
