"""Options of passes of ours: values from text and back."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from passes.errors import UserError
from passes.pipeline import textual
from passes.pipeline.base import Counters, Option, Statistic
from tests.pipeline.conftest import INPUTS


def sample(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("sample_passes_for_options", INPUTS / "sample_passes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses looks the module of its annotations up.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return getattr(module, name)


Tag = sample("Tag")
# Text can hold one kind of quote, and braces only in pairs: MLIR's grammar has no escapes.
_text = st.text(alphabet="ab =,.'()", max_size=12).map(str.strip).filter(lambda t: not t.startswith("'"))
_words = st.lists(st.text(alphabet="ab .()", min_size=1, max_size=5).map(str.strip).filter(bool), max_size=3).map(tuple)


@settings(deadline=None)
@given(_text, _words, st.booleans(), st.integers())
def test_a_pass_reads_back_from_its_text(text: str, also: tuple[str, ...], loud: bool, times: int) -> None:
    declared = Tag(text=text, also=also, loud=loud, times=times)
    (item,) = textual.read(f"builtin.module({declared.to_text()})").items
    assert isinstance(item, textual.PassUse)
    assert Tag.from_options(item.values()) == declared


def test_defaults_are_not_written() -> None:
    assert Tag().to_text() == "sample-tag"
    assert Tag(loud=True, text="a b").to_text() == 'sample-tag{text="a b" loud=true}'


@pytest.mark.parametrize(("given_", "value"), [("true", True), ("1", True), ("", True), ("false", False), ("0", False)])
def test_flags(given_: str, value: bool) -> None:
    assert Tag.from_options({"loud": given_}).loud is value


@pytest.mark.parametrize(("option", "text", "message"), [
    ("loud", "maybe", "option 'loud' of pass 'sample-tag' takes true or false, not 'maybe'"),
    ("times", "1.5", "option 'times' of pass 'sample-tag' takes a whole number, not '1.5'"),
    ("nope", "", "pass 'sample-tag' has no option 'nope'; its options: text, also, loud, times"),
])
def test_bad_options(option: str, text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Tag.from_options({option: text})
    assert caught.value.message == message


def test_a_choice_takes_its_words_only() -> None:
    choice = Option("how", "how", Literal["auto", "keep"], "auto", "")
    assert choice.parse("keep", "sample") == "keep"
    with pytest.raises(UserError, match="option 'how' of pass 'sample' takes one of auto, keep, not 'maybe'"):
        choice.parse("maybe", "sample")


def test_counters_know_what_was_declared() -> None:
    counters = Counters((Statistic("merged", "ops merged"),))
    counters.add("merged")
    counters.add("merged", 3)
    assert counters == {"merged": 4}
    with pytest.raises(KeyError):
        counters.add("undeclared")
