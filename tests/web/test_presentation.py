"""Values are shown in words that are true, short, and safe."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import web
from reconciler.model.resource import ResourceRef
from reconciler.model.result import VERDICTS, StepOutcome
from reconciler.store.views import STANDINGS, ResourceView
from web import presentation

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (-4.9, "just now"),
        (12.9, "12 s ago"),
        (59.9, "59 s ago"),
        (60, "1 min ago"),
        (3599, "59 min ago"),
        (7200, "2 h ago"),
        (-90, "in 1 min"),
        (86_400 * 3.5, "3 d ago"),
    ],
)
def test_times_are_relative_to_read_and_absolute_to_be_exact(seconds: float, text: str) -> None:
    shown = presentation.moment(NOW - seconds, NOW)
    assert f">{text}</time>" in shown
    assert re.search(r'title="20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"', shown)


def test_times_that_no_calendar_has_are_still_shown() -> None:
    for then in (1e20, -1e20, float("inf"), float("nan")):
        assert presentation.absolute(then)
    assert "never" in presentation.moment(None, NOW)


def test_every_state_has_a_face_whose_symbol_and_word_tell_it_from_others_of_its_tone() -> None:
    states = [*STANDINGS, *VERDICTS, *StepOutcome, "running", "succeeded", "partial", "interrupted", "normal", "alarm"]
    icons = (Path(web.__file__).parent / "templates" / "icons.html").read_text()
    for state in states:
        look = presentation.face(state)
        assert look.label
        assert look.mark
        assert f'id="i-{look.symbol}"' in icons
        assert look.tone in ("good", "bad", "warn", "busy", "odd", "calm")
    standing_faces = [presentation.face(state) for state in STANDINGS]
    labels = [look.label for look in standing_faces]
    assert len(set(labels)) == len(labels)
    tones: dict[str, set[str]] = {}
    for look in standing_faces:
        tones.setdefault(look.symbol, set()).add(look.tone)
    assert all(len(found) == 1 for found in tones.values()), "one symbol in two tones would speak by colour alone"


def test_an_unknown_state_is_shown_as_it_is_and_escaped() -> None:
    assert presentation.face("<odd>").label == "<odd>"
    assert "&lt;odd&gt;" in presentation.badge("<odd>")


@pytest.mark.parametrize("tone", ["good", "bad", "warn", "busy", "odd", "calm"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_tone_is_readable_on_its_ground_in_light_and_dark(tone: str, scheme: str) -> None:
    colours = _colours(scheme)
    assert _contrast(colours[tone], colours[f"{tone}-back"]) >= 4.5
    assert _contrast(colours[tone], colours["surface"]) >= 4.5
    assert _contrast(colours[f"{tone}-fill"], colours["surface"]) >= 2.5 or tone == "calm"
    for ground in ("page", "surface", "sunken"):
        for text in ("text", "quiet", "accent"):
            assert _contrast(colours[text], colours[ground]) >= 4.5


def _colours(scheme: str) -> dict[str, str]:
    style = (Path(web.__file__).parent / "static" / "style.css").read_text()
    light, dark = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", part)) for part in _roots(style))
    return light if scheme == "light" else light | dark


def _roots(style: str) -> list[str]:
    return re.findall(r":root \{(.*?)\}", style, re.DOTALL)[:2]


def _contrast(one: str, other: str) -> float:
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """As WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "(absent)"),
        ("", '""'),
        ("text", "text"),
        (3, "3"),
        (True, "true"),
        ([1, 2], "- 1\n- 2"),
        ({"a": {"b": "端口"}}, "a:\n  b: 端口"),
    ],
)
def test_values_are_shown_the_way_people_write_them(given: Any, shown: str) -> None:
    assert presentation.value(given) == shown


def test_long_values_say_how_much_is_left_out() -> None:
    text = presentation.value("x" * 5000)
    assert len(text) < 2100
    assert text.endswith("(3,000 more characters)")


def test_labels_and_addresses_are_escaped() -> None:
    assert presentation.labels({"<b>": '"x"'}) == '<span class="label">&lt;b&gt;=&#34;x&#34;</span>'
    assert presentation.resource_url(ResourceRef("A/b", "../x?y#z")) == "/resources/A%2Fb/..%2Fx%3Fy%23z"


@pytest.mark.parametrize("standing", STANDINGS)
def test_whoever_is_worried_is_told_what_to_do(standing: Any) -> None:
    sentence, command = presentation.advice(_view(standing))
    wrong = STANDINGS.index(standing) < STANDINGS.index("waiting")
    assert bool(sentence) is wrong
    assert command == "" or command.startswith("reconciler ")


def test_a_command_quotes_what_a_shell_would_read() -> None:
    _, command = presentation.advice(_view("failed", "x; rm -rf $HOME"))
    assert command == "reconciler logs 'Cluster/x; rm -rf $HOME'"


def test_the_commands_that_are_advised_exist() -> None:
    from reconciler.cli.main import cli

    known = set(cli.list_commands(cli.make_context("reconciler", ["--help"], resilient_parsing=True)))
    templates = (Path(web.__file__).parent / "templates").glob("*.html")
    text = " ".join(path.read_text() for path in templates)
    text += json.dumps([presentation.advice(_view(standing)) for standing in STANDINGS])
    advised = set(re.findall(r"reconciler ([a-z]+)", text))
    assert advised
    assert advised <= known


def _view(standing: Any, name: str = "dev") -> ResourceView:
    reason = "NeedsApproval" if standing == "blocked" else "Why"
    ref = ResourceRef("Cluster", name)
    return ResourceView(
        ref,
        standing,
        "False",
        reason,
        "m",
        {},
        "file:x",
        "x:1",
        "",
        1,
        1,
        0,
        False,
        False,
        (),
        0.0,
        0.0,
        None,
        None,
        None,
    )
