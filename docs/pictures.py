"""Takes the pictures of docs/report.md in headless Chromium, from pages that ``shlo report`` made.

  shlo report examples/decoder/train_step.mlir --rules examples/decoder/megatron.toml -O -o decoder.html
  shlo report ../shared/corpus/big_hf_llama3_70b_train.mlir --rules benchmarks/llama3_70b.toml -o 70b.html
  python docs/pictures.py decoder.html 70b.html
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent / "images"
# Picture -> which page, colours, the tab, what is searched for and selected.
PICTURES = {
    "report_decoder_memory.png": (0, "light", "Memory", "params 'wq'"),
    "report_decoder_collectives.png": (0, "dark", "Collectives", ""),
    "report_70b_memory.png": (1, "dark", "Memory", "%157 dot_general"),
    "report_70b_outline.png": (1, "light", "Outline", "reduce_scatter"),
}


def take(browser: Any, pages: list[str], name: str) -> None:
    which, colours, tab, query = PICTURES[name]
    page = browser.new_page(viewport={"width": 1400, "height": 820}, color_scheme=colours)
    page.goto(Path(pages[which]).resolve().as_uri())
    page.click(f"#tabs button:text-is('{tab}')")
    if tab == "Outline":
        page.focus(".list")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
    if query:
        page.keyboard.press("/")
        page.keyboard.type(query)
        page.keyboard.press("Enter")
    else:
        page.click(".row >> nth=0")
    page.screenshot(path=IMAGES / name)
    page.close()


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in PICTURES:
            take(browser, sys.argv[1:], name)
        browser.close()


if __name__ == "__main__":
    main()
