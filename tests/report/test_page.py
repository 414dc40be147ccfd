"""The page in headless Chromium: it opens without the network, finds, explains, plots, and obeys the keyboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passes.cli.cost import quantity
from passes.cost.program_cost import cost
from passes.cost.tables import TOTALS
from passes.program import read
from passes.report.data import page_data
from passes.report.difference import Difference, counts
from passes.report.page import escaped, render
from passes.report.subject import Subject, subject
from tests.report.conftest import ROOT, STEP, V5E, annotated


@pytest.fixture(scope="module")
def page(decoder: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "decoder.html"
    other = cost(read.read(STEP), V5E.device)
    before = counts(read.read(STEP))
    path.write_text(render(page_data(decoder, "decoder", {"one device": other}, Difference("x", before, before))))
    return path


def _type(tab: Any, text: str) -> None:
    tab.page.keyboard.press("/")
    tab.page.keyboard.type(text)


def test_opens_from_a_file_alone(tab: Callable[..., Any], page: Path, decoder: Subject) -> None:
    with tab(offline=True) as shown:
        shown.open(page)
        assert shown.text("h1") == "decoder"
        assert "8 x TPU v5e, mesh data=2 x model=4" in shown.text("#subtitle")
        assert shown.text(".mesh").split() == [str(n) for n in range(8)]
        assert f"{quantity(decoder.cost.estimate.memory.peak)}B" in shown.text(".cards")
        for name in ("Arguments", "Memory", "Time", "Outline", "Collectives", "Changes", "Plans", "Summary"):
            shown.part(name)
        assert shown.requests == [page.as_uri()]
        assert shown.errors == []


def test_search_finds_a_tensor_and_enter_shows_why_it_lies_so(tab: Callable[..., Any], page: Path) -> None:
    with tab() as shown:
        shown.open(page)
        _type(shown, "params 'wq'")
        shown.page.wait_for_selector("#found div")
        shown.page.keyboard.press("Enter")
        detail = shown.text("#detail")
        assert detail.startswith("params['attention']['wq']")
        assert "f32[64x32]" in detail and "P(None, 'model')" in detail
        assert "given" in detail and "megatron.toml:10:1" in detail
        assert shown.errors == []


def test_a_click_on_a_result_shows_a_chain_of_steps(tab: Callable[..., Any], page: Path) -> None:
    with tab() as shown:
        shown.open(page)
        _type(shown, "%152")
        shown.page.click("#found div >> nth=0")
        assert shown.text("#chosen") == "%152 (dot_general)"
        links = shown.page.locator("#detail .chain li")
        assert links.first.inner_text().startswith("given")
        assert links.count() > 2 and "factor" in shown.text("#detail .chain")
        # What it reads is a click away, and so is what reads that.
        shown.page.click("#detail button.link >> text=dot_general")
        assert "Reads" in shown.text("#detail")
        assert shown.errors == []


def test_what_a_tensor_did_not_take_is_listed_and_told(tab: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "fsdp.html"
    path.write_text(render(page_data(annotated(plan=str(ROOT / "examples/decoder/fsdp.toml")), "fsdp", {})))
    with tab() as shown:
        shown.open(path)
        shown.part("Not taken")
        assert "'data' splits its dimension 0" in shown.text("#panel")
        shown.page.fill("#panel .filter", "['wq']")
        shown.page.click("#panel .row >> nth=0")
        assert shown.text("#chosen").startswith("%12 ")
        told = shown.text("#detail .missed")
        assert "on dimension 2, because 'data' splits its dimension 0, from argument 18 'x'" in told
        assert "argument 3 'params['attention']['wq']' has it on dimension 0, given" in told
        assert "they meet at dot_general, factor l of" in told
        assert shown.errors == []


def test_memory_plot_shows_what_is_held_at_the_peak(tab: Callable[..., Any], page: Path, decoder: Subject) -> None:
    with tab() as shown:
        shown.open(page)
        shown.part("Memory")
        assert shown.page.locator("#plot .area").get_attribute("d").count("L") > 100
        memory = decoder.cost.estimate.memory
        assert f"{quantity(memory.peak)}B in memory, the peak" in shown.text("#moment")
        assert f"In memory then {len(memory.held)}" in " ".join(shown.text("#held h2").split())
        assert f"{memory.held[0].bytes:,}" in shown.text("#held .row >> nth=0")
        shown.page.focus("#plot")
        shown.page.keyboard.press("Home")
        assert "the peak" not in shown.text("#moment")
        at = shown.page.get_attribute("#plot", "aria-valuenow")
        shown.page.keyboard.press("ArrowRight")
        assert int(shown.page.get_attribute("#plot", "aria-valuenow")) == int(at) + 1
        assert shown.errors == []


def test_the_tree_opens_with_arrows_and_enter_selects(tab: Callable[..., Any], page: Path) -> None:
    with tab() as shown:
        shown.open(page)
        shown.part("Outline")
        shown.page.focus(".list")
        rows = shown.page.locator(".list [role=treeitem]")
        closed = rows.count()
        names = [rows.nth(n).inner_text() for n in range(closed)]
        at = next(n for n, name in enumerate(names) if "jit(train_step)" in name)
        for _ in range(at):
            shown.page.keyboard.press("ArrowDown")
        shown.page.keyboard.press("ArrowRight")
        assert rows.count() > closed
        assert rows.nth(at).get_attribute("aria-expanded") == "true"
        shown.page.keyboard.press("ArrowLeft")
        assert rows.count() == closed
        shown.page.keyboard.press("ArrowRight")
        while shown.page.locator("[aria-selected=true][role=treeitem]").get_attribute("aria-expanded"):
            shown.page.keyboard.press("ArrowDown")
            shown.page.keyboard.press("ArrowRight")
        shown.page.keyboard.press("Enter")
        assert "place" in shown.text("#detail")
        assert shown.errors == []


def test_a_collective_says_between_what_and_for_what(tab: Callable[..., Any], page: Path) -> None:
    with tab() as shown:
        shown.open(page)
        shown.part("Collectives")
        assert shown.page.locator(".row").count() > 5
        shown.page.click(".row >> nth=0")
        detail = shown.text("#detail")
        assert "Why this collective" in detail and "from" in detail and "P(" in detail
        shown.page.click("text=show in the outline")
        assert shown.page.locator("[role=treeitem][aria-selected=true]").count() == 1
        assert shown.errors == []


def test_plans_and_changes_are_tables(tab: Callable[..., Any], page: Path) -> None:
    with tab() as shown:
        shown.open(page)
        shown.part("Plans")
        rows = shown.text("table").splitlines()
        assert rows[0].split("\t")[1:] == ["decoder", "one device"] and len(rows) == len(TOTALS) + 1
        shown.part("Changes")
        assert "ops before" in shown.text("#panel")


def test_light_and_dark(tab: Callable[..., Any], page: Path) -> None:
    grounds = []
    for scheme in ("light", "dark"):
        with tab(color_scheme=scheme) as shown:
            shown.open(page)
            grounds.append(shown.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(251, 251, 250)", "rgb(20, 23, 27)"]


HOSTILE = "</script><img src=x onerror=alert(1)><script>alert('\\\"')</script>@@DATA@@\u2028<!--"


def test_names_are_texts_whatever_they_are(tab: Callable[..., Any], tmp_path: Path) -> None:
    quoted = HOSTILE.replace('\\"', '\\22')
    program = read.parse(
        f'#a = loc("{quoted}")\nfunc.func @main(%a: tensor<4xf32> loc("{quoted}")) -> tensor<4xf32> {{\n'
        f'  %0 = stablehlo.add %a, %a : tensor<4xf32> loc("{quoted}")\n  return %0 : tensor<4xf32>\n}}\n'
    )
    path = tmp_path / "hostile.html"
    path.write_text(render(page_data(subject(program, V5E), HOSTILE, {})), encoding="utf-8")
    with tab() as shown:
        dialogs: list[str] = []
        shown.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        shown.open(path)
        for name in ("Arguments", "Time", "Outline", "Memory"):
            shown.part(name)
        _type(shown, "<img")
        shown.page.keyboard.press("Enter")
        assert "<img src=x onerror=alert(1)>" in shown.text("#detail")
        assert shown.page.locator("img").count() == 0
        assert (dialogs, shown.errors, shown.requests) == ([], [], [path.as_uri()])


def test_only_what_is_in_view_is_drawn(tab: Callable[..., Any], tmp_path: Path) -> None:
    lines = "\n".join(
        f'  %{n + 1} = stablehlo.add %{n}, %{n} : tensor<8xf32> loc("layer_{n // 100}/add")' for n in range(20_000)
    )
    text = f"func.func @main(%0: tensor<8xf32>) -> tensor<8xf32> {{\n{lines}\n  return %20000 : tensor<8xf32>\n}}\n"
    path = tmp_path / "long.html"
    path.write_text(render(page_data(subject(read.parse(text), V5E), "long", {})))
    with tab() as shown:
        shown.open(path)
        shown.part("Outline")
        assert "20,000 ops" in shown.text("#panel")
        shown.page.focus(".list")
        shown.page.keyboard.press("End")
        assert "layer_199" in shown.text("[role=treeitem][aria-selected=true]")
        _type(shown, "layer_150/add")
        assert "and 40 more" in shown.text("#found")
        shown.part("Memory")
        assert shown.page.evaluate("document.querySelectorAll('*').length") < 1500
        assert shown.errors == []


def test_escaped_json_is_the_same_json() -> None:
    data = {"</script>": ["<!--", "&", "\u2028", '"', "\\"]}
    assert json.loads(escaped(data)) == data
    assert not set("<>&\u2028") & set(escaped(data))
