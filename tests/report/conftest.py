"""A headless Chromium for the pages, and subjects of the decoder's train step."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from passes.cost import device
from passes.program import read
from passes.report.subject import Settings, Subject, subject
from passes.sharding.annotate import annotate
from passes.sharding.explain import Explainer
from passes.sharding.rules_file import load

ROOT = Path(__file__).parents[2]
STEP = str(ROOT / "examples/decoder/train_step.mlir")
PLAN = str(ROOT / "examples/decoder/megatron.toml")
V5E = Settings(device.load("tpu_v5e"))


def annotated(file: str = STEP, plan: str = PLAN) -> Subject:
    """A program that is partitioned as a rules file says."""
    program = read.read(file)
    explainer = Explainer(program)
    explainer.annotated(annotate(program, load(plan)))
    return subject(program, V5E, explainer)


@pytest.fixture(scope="session")
def decoder() -> Subject:
    return annotated()


class Tab:
    """A page in the browser, with what went wrong in it."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#tabs button")

    def part(self, name: str) -> None:
        self.page.click(f"#tabs button:text-is('{name}')")

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("the pages are tested in Chromium, which is not installed (apt-get install chromium)")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Makes tabs; settings are those of Playwright's ``new_page``."""

    @contextmanager
    def make(**settings: Any) -> Iterator[Tab]:
        page = chromium.new_page(viewport={"width": 1400, "height": 860}, **settings)
        try:
            yield Tab(page)
        finally:
            page.close()

    yield make
