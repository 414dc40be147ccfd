"""Takes the pictures of docs/report.md: ``python docs/screenshots.py MEGATRON.html FSDP.html 70B.html [PICTURE ...]``.

The pages are those of the decoder's train step under two rules files, and of the 70B model as docs/report.md makes it.
Chromium has to be installed. What a picture shows is reached as a reader would: by tabs, the search and the keyboard.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"


def search(page: Any, text: str) -> None:
    """Finds ``text`` and selects what is first."""
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.wait_for_selector("#found div")
    page.keyboard.press("Enter")


def part(page: Any, name: str) -> None:
    page.click(f"#tabs button:text-is('{name}')")


def decoder_memory(page: Any) -> None:
    part(page, "Memory")
    search(page, "params 'wq'")


def decoder_collectives(page: Any) -> None:
    part(page, "Collectives")
    page.click(".row >> nth=0")


def decoder_not_taken(page: Any) -> None:
    part(page, "Not taken")
    page.click(".row >> nth=1")


def large_memory(page: Any) -> None:
    part(page, "Memory")


def large_outline(page: Any) -> None:
    search(page, "reduce_scatter")
    part(page, "Outline")
    page.focus(".list")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")


# Name of the picture -> the page, light or dark, and how to get there.
PICTURES = {
    "report_decoder_memory": (0, "light", decoder_memory),
    "report_decoder_collectives": (0, "dark", decoder_collectives),
    "report_decoder_not_taken": (1, "light", decoder_not_taken),
    "report_70b_memory": (2, "light", large_memory),
    "report_70b_outline": (2, "dark", large_outline),
}


def main(*arguments: str) -> None:
    """Takes the pictures that are named, or all."""
    pages, wanted = arguments[:3], arguments[3:]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in wanted or PICTURES:
            number, scheme, get_there = PICTURES[name]
            page = browser.new_page(viewport={"width": 1400, "height": 820}, color_scheme=scheme)
            page.goto(Path(pages[number]).resolve().as_uri())
            page.wait_for_selector("#tabs button")
            get_there(page)
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"{name}.png")
            page.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
