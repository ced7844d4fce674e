"""What a benchmark says: one line a figure, the same columns for all. Written by the benchmarks, printed by `run`."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.measuring import Series

HEADER = ("WHAT", "OURS", "THEIRS", "RATIO", "WANTED", "VERDICT")
WIDTHS = (52, 22, 22, 8, 10, 8)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. verdict: ok, MISSED, or "" where nothing was promised. notes: what one should know of it."""

    what: str
    ours: str = ""
    theirs: str = ""
    ratio: str = ""
    wanted: str = ""
    verdict: str = ""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """As it is printed."""
        return [row((self.what, self.ours, self.theirs, self.ratio, self.wanted, self.verdict)), *self.notes_lines()]

    def notes_lines(self) -> list[str]:
        """The notes, indented."""
        return [f"    {note}" for note in self.notes]


def row(cells: tuple[str, ...]) -> str:
    """One line of the table."""
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def faster(what: str, ours: Series, theirs: Series, wanted: float, *notes: str) -> Figure:
    """How many times faster we are, by medians; the least of each is printed beside it."""
    ratio = theirs.median / ours.median
    least = f"by the least of each: {theirs.least / ours.least:.1f}×"
    return Figure(
        what,
        _times(ours),
        _times(theirs),
        f"{ratio:.1f}×",
        f"≥ {wanted:g}×",
        _verdict(ratio >= wanted),
        (least, *notes),
    )


def at_most_times(what: str, ours: Series, theirs: Series, wanted: float, *notes: str) -> Figure:
    """How many times as long as theirs ours takes, by medians."""
    ratio = ours.median / theirs.median
    least = f"by the least of each: {ours.least / theirs.least:.2f}×"
    return Figure(
        what,
        _times(ours),
        _times(theirs),
        f"{ratio:.2f}×",
        f"≤ {wanted:g}×",
        _verdict(ratio <= wanted),
        (least, *notes),
    )


def at_most(what: str, value: float, limit: float, unit: str, *notes: str) -> Figure:
    """A value that has a limit of its own."""
    return Figure(
        what, f"{value:.4g} {unit}", wanted=f"≤ {limit:g} {unit}", verdict=_verdict(value <= limit), notes=notes
    )


def compared(what: str, ours: Series, theirs: Series) -> Figure:
    """How many times faster we are, where nothing was promised."""
    return Figure(what, _times(ours), _times(theirs), f"{theirs.median / ours.median:.1f}×")


def told(what: str, ours: str, *notes: str) -> Figure:
    """A figure that is printed only."""
    return Figure(what, ours, notes=notes)


def seconds(value: float) -> str:
    """A duration as people read it."""
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"


def _times(series: Series) -> str:
    return f"{seconds(series.median)} ({seconds(series.least)})"


def _verdict(good: bool) -> str:
    return "ok" if good else "MISSED"
