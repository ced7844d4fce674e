"""The forms in a real browser, with and without scripts: sign in, create, follow, stop, approve, suspend, delete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filled_store import Filling
from test_browser import WAIT, Complaints, browser, complaints  # noqa: F401 - fixtures

from tests.clusters.sandbox_lab import CREATION, SandboxLab, cluster
from tests.web.write_lab import TOKEN, api_of, document, token_of
from web.admission import Admission
from web.server import Served
from web.writing import Writer

pytestmark = pytest.mark.browser
Open = Callable[..., Any]
FORMS = {
    "form-sign-in": "/sign-in",
    "form-new": "/new",
    "form-delete": "/resources/Cluster/made/delete",
    "form-suspend": "/resources/Cluster/made/suspend",
    "task": "/tasks/1",
    "signed-in-resource": "/resources/Cluster/made",
    "signed-in-approval": "/resources/Cluster/careful",
    "signed-in-overview": "/",
}


@pytest.fixture
def contexts(browser: Any) -> Iterator[Callable[..., Any]]:  # noqa: F811 - the fixture
    """Opens a page in a context of its own; all are closed at the end."""
    opened = []

    def open_one(**options: Any) -> Any:
        opened.append(browser.new_context(**options))
        return opened[-1].new_page()

    yield open_one
    for context in opened:
        context.close()


@pytest.fixture
def visit(
    start: Callable[..., Served],
    writing: tuple[Writer, Admission],
    contexts: Callable[..., Any],
    complaints: Complaints,  # noqa: F811 - the fixture
) -> Open:
    """Opens a page of a server that may write."""
    served = start(writing=writing, poll=0.05)

    def opened(path: str, **options: Any) -> Any:
        page = contexts(**options)
        complaints.watch(page, served.url)
        page.goto(f"{served.url}{path}")
        return page

    return opened


def sign_in(page: Any, token: str = TOKEN) -> None:
    """From wherever the page is."""
    page.click("text=Sign in")
    page.fill("#token", token)
    page.click("main button:has-text('Sign in')")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_cluster_is_created_through_the_form(
    writing: tuple[Writer, Admission],
    visit: Open,
    complaints: Complaints,  # noqa: F811 - the fixture
    scripts: bool,
) -> None:
    page = visit("/resources", java_script_enabled=scripts)
    assert page.locator("a:has-text('New…')").count() == 0
    sign_in(page, "wrong")
    assert "This is not the token" in page.inner_text("main")
    page.fill("#token", TOKEN)
    page.click("main button:has-text('Sign in')")
    page.wait_for_url("**/resources")
    page.click("a:has-text('New…')")
    page.fill("[id='metadata.name']", "Made")
    page.fill("[id='spec.servers']", "many")
    page.fill("[id='spec.description']", "of the form")
    page.click("button:has-text('Create')")
    beside = page.locator(".field.wrong")
    assert beside.count() == 2
    assert "lower-case" in beside.nth(0).inner_text()
    assert "whole number" in beside.nth(1).inner_text()
    assert page.input_value("[id='spec.description']") == "of the form"
    page.fill("[id='metadata.name']", "made")
    page.fill("[id='spec.servers']", "3")
    page.click("button:has-text('Create')")
    page.wait_for_url("**/tasks/*")
    assert "Create Cluster/made" in page.inner_text("h1")
    page.click("a.ref")
    assert "Made" not in page.inner_text("h1")
    assert page.locator(".actions").inner_text().split() == ["Look", "now", "Stop", "Suspend…", "Delete…"]
    complaints[:] = [text for text in complaints if "401" not in text and "422" not in text]


def test_what_somebody_writes_is_not_taken_away_by_news(filled: Filling, visit: Open) -> None:
    page = visit("/new")
    page.fill("#token", TOKEN)
    page.click("main button:has-text('Sign in')")
    page.fill("[id='metadata.name']", "half-writ")
    filled.report("dev", "CreateFailed", message="quite new")
    page.wait_for_timeout(1500)
    page.keyboard.type("ten")
    assert page.input_value("[id='metadata.name']") == "half-written"


def test_row_0_27_the_page_leads_to_what_the_api_leads_to(
    tmp_path_factory: pytest.TempPathFactory, contexts: Callable[..., Any]
) -> None:
    """The same spec by form, API and file, with a real daemon: the same document and the same steps."""
    lab = SandboxLab(tmp_path_factory.mktemp("p"))
    try:
        lab.write("file.yaml", cluster("by-file", agents=1, environment="dev"))
        daemon = lab.daemon()
        api = api_of(lab, daemon)
        api.ended(api.ask("POST", "/api/v2/clusters", document("by-api", agents=1, environment="dev")))
        page = contexts()
        page.goto(f"{daemon.url}/")
        sign_in(page, token_of(lab))
        page.click("a:has-text('New…')")
        page.fill("[id='metadata.name']", "by-page")
        page.select_option("[id='spec.provider']", "sandbox")
        page.fill("[id='spec.agents']", "1")
        page.fill("[id='spec.environment']", "dev")
        page.click("button:has-text('Create')")
        page.wait_for_selector("h1 .badge:has-text('Succeeded')", timeout=WAIT)
        lab.await_ready("Cluster/by-file")
        kept = {row["name"]: row for row in lab.rows("SELECT name, spec, lifecycle, labels, digest FROM resources")}
        for column in ("spec", "lifecycle", "labels", "digest"):
            assert len({row[column] for row in kept.values()}) == 1, column
        for name in ("by-file", "by-api", "by-page"):
            assert [step for step, _ in lab.steps(f"Cluster/{name}")] == list(CREATION), name
        page.click("a.ref")
        page.click("button:has-text('Stop')")
        page.wait_for_selector("h1 .badge:has-text('Succeeded')", timeout=WAIT)
        assert lab.made()["by-page"]["state"] == "stopped"
        page.click("a.ref")
        page.click("a:has-text('Delete…')")
        page.fill("#name", "by-pag")
        page.click("button:has-text('Delete')")
        assert "Type by-page" in page.inner_text(".error")
        page.fill("#name", "by-page")
        page.click("button:has-text('Delete')")
        page.wait_for_selector("h1 .badge:has-text('Succeeded')", timeout=WAIT)
        assert "by-page" not in lab.made()
        page.click("button:has-text('Sign out')")
        assert page.locator("text=Sign out").count() == 0
        assert page.context.cookies() == []
    finally:
        lab.close()


@pytest.mark.soak
def test_pictures_of_the_forms_can_be_taken(
    filled: Filling,
    writing: tuple[Writer, Admission],
    visit: Open,
    complaints: Complaints,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    """Into the folder RECONCILER_SHOTS, for people to look at; on a phone nothing is wider than the screen."""
    folder = Path(os.environ.get("RECONCILER_SHOTS", tmp_path))
    folder.mkdir(exist_ok=True)
    writing[0].create({"kind": "Cluster", "metadata": {"name": "made"}, "spec": {}}, "a test")
    forms: dict[str, Any] = {
        "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
        "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
        "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    }
    for form, options in forms.items():
        page = visit("/sign-in", **options)
        base = page.url.removesuffix("/sign-in")
        for name, path in FORMS.items():
            page.goto(f"{base}{path}")
            if name == "form-new":
                page.fill("[id='metadata.name']", "Not a name")
                page.fill("[id='spec.servers']", "many")
                page.click("button:has-text('Create')")
            (folder / f"{name}-{form}.png").write_bytes(page.screenshot(full_page=True))
            beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert beyond <= 0, f"{path} is {beyond} px wider than the screen"
            if name == "form-sign-in":
                page.fill("#token", TOKEN)
                page.click("main button:has-text('Sign in')")
    complaints[:] = [text for text in complaints if "422" not in text]
