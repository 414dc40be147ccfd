"""The page on rules files: its examples are rules files, and its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from passes.sharding import rules_file
from passes.sharding.rules_file import parse, presets

PAGE = (Path(__file__).parents[2] / "docs" / "rules-file.md").read_text()
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_can_be_read(text: str) -> None:
    rules = parse(text)
    assert rules.arguments or rules.constraints or rules.groups or rules.rules


def test_every_key_is_explained() -> None:
    keys = {*rules_file._ENTRY, *rules_file._OPS, *rules_file._RULE, *rules_file._FILE}
    assert not [key for key in keys if not re.search(rf"`(\[\[?)?{key}\b|^{key} =", PAGE, flags=re.MULTILINE)]


def test_presets_are_listed_with_their_meshes() -> None:
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w=, ]+=\d+) \|", PAGE, flags=re.MULTILINE))
    meshes = {name: ", ".join(f"{a}={s}" for a, s in parse(text).mesh.axes) for name, text in presets().items()}
    assert listed == meshes
