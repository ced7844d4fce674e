"""In a real browser: live without reloading, readable without scripts, on a phone, in light and dark."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filled_store import CHINESE, Filling
from pair_rows import STEPS, WAITS, PairFilling
from project_rows import MESSAGE, put_project

from reconciler.model.plan import Action
from reconciler.store import journal
from web.asgi import create_asgi_app
from web.server import Served, serve

pytestmark = pytest.mark.browser
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {
    "overview": "/",
    "resources": "/resources",
    "resource-ready": "/resources/Cluster/dev",
    "resource-failed": "/resources/Cluster/broken",
    "resource-approval": "/resources/Cluster/careful",
    "resource-running": "/resources/Cluster/upgrading",
    "resource-suspended": "/resources/Cluster/forgotten",
    "runs": "/runs",
    "run": "/runs/2",
    "activity": "/activity",
    "graph": "/graph",
    "missing": "/nowhere",
}
WAIT = 20_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the tests of this file."""
    if not CHROMIUM:
        pytest.skip("no chromium on PATH: apt-get install --no-install-recommends chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


class Complaints(list[str]):
    """What the browser complained about: errors, refusals by the content policy, requests that left the page."""

    def watch(self, page: Any, own: str) -> None:
        page.on("console", lambda said: self.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(own) else self.append(f"left: {asked.url}"))


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """Empty at the end, or the test fails."""
    found = Complaints()
    yield found
    assert found == []


Open = Callable[..., Any]


@pytest.fixture
def visit(browser: Any, start: Callable[..., Served], complaints: Complaints) -> Iterator[Open]:
    """Opens a page of one server in a context of its own."""
    served = start(poll=0.05)
    contexts = []

    def opened(path: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page, served.url)
        page.goto(f"{served.url}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()


def mark(page: Any) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.notReloaded = true")


def test_a_change_appears_without_a_reload(filled: Filling, visit: Open) -> None:
    page = visit("/")
    page.wait_for_selector("#live:has-text('Live')")
    mark(page)
    filled.tell("alarm", "DiskFull", f"no space left {CHINESE}", "dev")
    page.wait_for_selector("text=DiskFull", timeout=WAIT)
    filled.report("dev", "CreateFailed", message="no longer there")
    page.wait_for_selector("h1:has-text('8 of 16')", timeout=WAIT)
    assert page.title().startswith("(8) Overview")
    assert page.evaluate("window.notReloaded") is True
    assert page.evaluate("window.hacked") is None


def test_progress_moves_while_one_looks(filled: Filling, visit: Open) -> None:
    lease, change_id = filled.change(filled.run(), "fresh", Action.CREATE)
    step_id = filled.step(lease, change_id, 0, "Unpack the images", log="first line\n")
    page = visit("/resources/Cluster/fresh")
    page.wait_for_selector("text=0 %")
    mark(page)
    journal.note_progress(lease, step_id, 73.0, "layer 3 of 4")
    journal.append_log(lease, step_id, "second line\n")
    page.wait_for_selector("text=73 %", timeout=WAIT)
    page.wait_for_selector("pre.log:has-text('second line')", timeout=WAIT)
    assert page.evaluate("window.notReloaded") is True


def test_what_the_reader_opened_wrote_and_scrolled_to_stays(filled: Filling, visit: Open) -> None:
    page = visit("/resources/Cluster/dev", viewport={"width": 800, "height": 400})
    page.wait_for_selector("#live:has-text('Live')")
    page.click("summary:has-text('Outputs')")
    page.click("summary:has-text('Life cycle')")
    page.evaluate("window.scrollTo(0, 300)")
    filled.tell("warning", "SomethingNew", "m", "dev")
    page.wait_for_selector("text=SomethingNew", timeout=WAIT, state="attached")
    assert page.evaluate("document.querySelector('details[data-key=lifecycle]').open") is True
    assert page.evaluate("document.querySelectorAll('details[data-key^=outputs][open]').length") == 1
    assert page.evaluate("window.scrollY") == 300
    page = visit("/resources")
    page.wait_for_selector("#live:has-text('Live')")
    page.focus("#q")
    page.keyboard.type("fara")
    filled.report("dev", "CreateFailed", message="quite new")
    page.wait_for_selector("text=quite new", timeout=WAIT)
    page.keyboard.type("way")
    assert page.input_value("#q") == "faraway"
    page.keyboard.press("Enter")
    page.wait_for_url("**/resources?q=faraway*")
    assert page.locator("tbody tr").count() == 1


def test_a_lost_connection_is_said_and_found_again(filled: Filling, browser: Any) -> None:
    def served(port: int) -> tuple[threading.Event, Served]:
        stop = threading.Event()
        return stop, serve(create_asgi_app(filled.database), "127.0.0.1", port, stop)

    stop, first = served(0)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{first.url}/")
    page.wait_for_selector("#live:has-text('Live')")
    mark(page)
    stop.set()
    assert first.join(10)
    page.wait_for_selector("#live.off:has-text('No connection')", timeout=WAIT)
    filled.tell("alarm", "MissedMeanwhile", "m")
    stop, second = served(first.port)
    page.wait_for_selector("#live:not(.off):has-text('Live')", timeout=WAIT)
    page.wait_for_selector("text=MissedMeanwhile", timeout=WAIT)
    assert page.evaluate("window.notReloaded") is True
    context.close()
    stop.set()
    assert second.join(10)


@pytest.mark.parametrize("path", ["/", "/resources", "/resources/Cluster/broken", "/runs/1", "/activity", "/graph"])
def test_everything_is_readable_without_scripts(filled: Filling, visit: Open, path: str) -> None:
    page = visit(path, java_script_enabled=False)
    text = page.inner_text("main")
    expected = {
        "/": "What is wrong",
        "/resources": "Cluster/typo",
        "/resources/Cluster/broken": CHINESE,
        "/runs/1": "Wait for nodes",
        "/activity": "RunsWhilePaused",
        "/graph": "nowhere",
    }
    assert expected[path] in text
    assert not page.is_visible("#live")


def test_forms_and_details_work_without_scripts(filled: Filling, visit: Open) -> None:
    page = visit("/resources", java_script_enabled=False)
    page.fill("#q", "env=prod")
    page.click("button:has-text('Filter')")
    assert page.locator("tbody tr").count() == 1
    page.click("tbody a")
    page.click("summary:has-text('Life cycle')")
    assert "interval: 300" in page.inner_text("main")


@pytest.mark.parametrize("width", [390, 320])
@pytest.mark.parametrize("path", PAGES.values())
def test_a_phone_scrolls_in_one_direction_only(
    filled: Filling, visit: Open, complaints: Complaints, path: str, width: int
) -> None:
    page = visit(path, viewport={"width": width, "height": 844})
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert beyond <= 0, f"{path} is {beyond} px wider than the screen"
    if path == "/nowhere":
        complaints.clear()


def test_light_and_dark_differ_and_follow_the_system(filled: Filling, visit: Open) -> None:
    def ground(scheme: Any) -> tuple[int, ...]:
        page = visit("/", color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return tuple(int(part) for part in re.findall(r"\d+", colour))

    assert min(ground("light")) > 230
    assert max(ground("dark")) < 40


def test_everything_is_reached_by_keyboard_and_seen_to_be(filled: Filling, visit: Open) -> None:
    page = visit("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        width, style = page.evaluate(
            "(s => [s.outlineWidth, s.outlineStyle])(getComputedStyle(document.activeElement))"
        )
        assert (width, style) == ("2px", "solid")
        seen.add(page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.tagName"))
    assert {"/resources", "/resources/Cluster/typo"} <= seen


def test_five_thousand_rows_are_shown_and_renewed(
    filling: Filling, visit: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    filling.want(*(filling.resource(f"r{number:04}", labels={"env": "dev"}) for number in range(5000)))
    page = visit("/resources?limit=20000")
    page.wait_for_selector("#live:has-text('Live')", timeout=WAIT)
    spent = page.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
    filling.report("r2500", "CreateFailed", message="quite new")
    page.wait_for_selector("text=quite new", timeout=WAIT)
    with capsys.disabled():
        print(f"\n5,000 rows in Chromium: {spent} ms from navigation to load")
    assert page.locator("tbody tr").count() == 5000


@pytest.mark.parametrize("width", [1280, 390])
def test_a_projects_page_is_readable_and_scrolls_in_one_direction_only(
    filling: Filling, visit: Open, tmp_path: Path, width: int
) -> None:
    spec = {"cluster": "dev", "repository": {"provider": "github", "name": "acme/shop"}}
    filling.want(filling.resource("dev"), filling.resource("shop", "Project", spec))
    put_project(filling.database)
    page = visit("/resources/Project/shop", viewport={"width": width, "height": 844})
    assert page.get_by_text(MESSAGE).first.is_visible()
    assert page.get_by_text("Development").first.is_visible()
    shoot(page, tmp_path, f"project-{width}")


def shoot(page: Any, place: Path, name: str) -> None:
    """No wider than the screen; pictures of it, light and dark, into RECONCILER_SHOTS for people to look at."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    folder = Path(os.environ.get("RECONCILER_SHOTS", place))
    folder.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        (folder / f"{name}-{scheme}.png").write_bytes(page.screenshot(full_page=True))


@pytest.mark.parametrize("width", [1280, 390])
def test_a_pairs_page_shows_both_nodes_and_scrolls_in_one_direction_only(
    filling: Filling, visit: Open, tmp_path: Path, width: int
) -> None:
    """While it upgrades both nodes are side by side, or below each other on a phone; then it says what to type."""
    pair = PairFilling(filling)
    upgrade = pair.upgrade(done=7)
    pair.synchronized()
    page = visit("/resources/NodePair/shop", viewport={"width": width, "height": 844})
    tops = [one.bounding_box()["y"] for one in page.locator(".pair-node").all()]
    assert (tops[0] == tops[1]) is (width == 1280)
    assert page.get_by_text("验证备节点").is_visible()
    shoot(page, tmp_path, f"pair-upgrading-{width}")
    pair.wait(upgrade)
    filling.tell("alarm", "NotAlike", "an upgrade needs a person")
    page.wait_for_selector(f"text={WAITS}", timeout=WAIT)
    assert page.get_by_text("reconciler rsync resolve shop --keep master").is_visible()
    assert page.locator(".steps li").count() == len(STEPS)
    shoot(page, tmp_path, f"pair-waiting-{width}")


@pytest.mark.soak
def test_pictures_of_every_page_can_be_taken(
    filled: Filling, visit: Open, complaints: Complaints, tmp_path: Path
) -> None:
    """Into the folder RECONCILER_SHOTS, for people to look at."""
    folder = Path(os.environ.get("RECONCILER_SHOTS", tmp_path))
    folder.mkdir(exist_ok=True)
    forms: dict[str, Any] = {
        "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
        "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
        "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    }
    for form, options in forms.items():
        page = visit("/", **options)
        for name, path in PAGES.items():
            page.goto(re.sub(r"(://[^/]+).*", rf"\1{path}", page.url))
            picture = page.screenshot(full_page=True)
            assert picture.startswith(b"\x89PNG")
            (folder / f"{name}-{form}.png").write_bytes(picture)
    complaints[:] = [text for text in complaints if "404" not in text]
