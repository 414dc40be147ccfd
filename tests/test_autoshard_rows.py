"""benchmarks/autoshard_rows.py: the plans it compares with split what they should; its verdicts say what happened."""

from __future__ import annotations

import re
from typing import Any

import pytest

from benchmarks import autoshard_rows
from benchmarks.expert_plans import PLANS, plans
from passes.program import read
from passes.program.entry import arguments, find_entry
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh

MESH = Mesh((("data", 2), ("model", 4)))
SMALL = {small: family for family, small in autoshard_rows.FAMILIES.values()}


def lies(small: str, text: str) -> dict[str, str]:
    """How each argument of a small model lies under a plan: for each dimension the axes, as text."""
    program = read.read(str(autoshard_rows.SMALL / f"{small}.mlir"))
    annotate(program, rules_file.parse(text))
    found = {}
    for value in arguments(find_entry(program)):
        written = str(value.attributes["sdy.sharding"]) if "sdy.sharding" in value.attributes else "open"
        found[value.name] = re.sub(r"#sdy.sharding<@mesh, (.*)>", r"\1", written).replace('"', "")
    return found


@pytest.mark.parametrize("small", SMALL)
def test_plans_that_store_in_shards_leave_no_matrix_whole(small: str) -> None:
    stored = {title: text for title, text in plans(SMALL[small], MESH) if "FSDP" in title}
    assert stored
    for title, text in stored.items():
        for name, lie in lies(small, text).items():
            if name.startswith(("params", "mu", "nu")):
                assert "data" in lie or "model" in lie, f"{title}: {name} {lie}"


@pytest.mark.parametrize("small", SMALL)
def test_every_plan_says_how_every_array_lies_and_splits_what_comes_in(small: str) -> None:
    for title, text in plans(SMALL[small], MESH):
        found = lies(small, text)
        assert [name for name, lie in found.items() if lie == "open"] == ["position"] * (small == "decode"), title
        split = [name for name, lie in found.items() if "[" not in name and ("data" in lie or "model" in lie)]
        assert split or title == "Megatron over all", title


def test_roles_go_to_axes_both_ways() -> None:
    one, other = (lies("mixtral", dict(plans("mixture", MESH))[f"expert + Megatron + FSDP ({roles})"])
                  for roles in ("data, model", "model, data"))
    layer = "params['layers']['sparse']"
    assert one[f"{layer}['attention']['wq']"] == "[{}, {data}p1, {model}]"
    assert other[f"{layer}['attention']['wq']"] == "[{}, {model}p1, {data}]"
    assert one[f"{layer}['moe']['experts']['gate']"] == "[{}, {model}, {data}p1, {}]"
    assert one[f"{layer}['attention_norm']"] == "[{}, {data}p1]"
    assert one["tokens"] == "[{data}, {}]" and other["tokens"] == "[{model}, {}]"


def test_plans_know_convolutions_and_graphs() -> None:
    unet = lies("unet", dict(plans("vision", MESH))["Megatron + FSDP (data, model)"])
    assert unet["params['down'][0]['blocks'][0]['in']"] == "[{}, {}, {data}p1, {model}]"
    assert unet["params['down'][0]['blocks'][0]['out']"] == "[{}, {}, {model}, {data}p1]"
    assert unet["params['last']"] == "[{}, {}, {data}p1, {}]"
    graph = lies("graph_network", dict(plans("graph", MESH))["edges + Megatron (data, model)"])
    assert graph["edges"] == "[{data}, {}]" and graph["senders"] == "[{data}]" and graph["nodes"] == "[{}, {}]"


def test_roles_are_given_to_first_and_last_of_three_axes() -> None:
    mesh = Mesh((("pod", 2), ("data", 2), ("model", 2)))
    titles = [title for title, _ in plans("dense", mesh) if title.startswith("Megatron (")]
    assert titles == [
        "Megatron (pod, data+model)", "Megatron (pod+data, model)", "Megatron (data+model, pod)",
        "Megatron (model, pod+data)",
    ]
    assert len({title for title, _ in plans("dense", mesh)}) == 2 + 4 * (len(PLANS["dense"]) - 2)


def _figures(seconds: float, sent: float, peak: float) -> dict[str, Any]:
    return {"seconds": seconds, "local": seconds, "sent": sent, "peak": peak, "arguments": 1.0, "redundancy": 1.0}


@pytest.mark.parametrize(("ours", "equal", "verdict", "best"), [
    (_figures(1.0, 5.0, 9.0), True, "right", "fast"),
    (_figures(2.1, 5.0, 9.0), True, "worse", "fast"),
    (_figures(1.0, 7.0, 9.0), True, "right", "fast"),
    (_figures(1.99, 7.0, 9.0), True, "worse", "sparing"),
    (_figures(1.99, 5.0, 9.0), True, "worse", "sparing"),
    (_figures(1.9, 5.0, 9.0), True, "right", "fast"),
    (_figures(2.01, 3.5, 9.0), True, "right", "fast"),
    (_figures(1.0, 5.0, 11.0), True, "worse", "fast"),
    (_figures(1.0, 5.0, 9.0), False, "wrong", "fast"),
])
def test_verdict(ours: dict[str, Any], equal: bool, verdict: str, best: str) -> None:
    experts = {
        "fast": _figures(2.0, 6.0, 10.0), "sparing": _figures(2.005, 4.0, 8.0), "slow": _figures(3.0, 1.0, 8.0),
        "large": _figures(0.5, 0.0, 99.0),
    }
    about = {"bytes_limit": 10.0, "ours": ours, "experts": experts, "equal": equal, "executed": "differs"}
    found = autoshard_rows._verdict(about)
    assert (found["verdict"], found["best"]) == (verdict, best)


def test_where_nothing_fits_it_says_so() -> None:
    about = {"bytes_limit": 1.0, "ours": _figures(1, 1, 2), "experts": {"one": _figures(1, 1, 3)}, "equal": True,
             "executed": ""}
    assert autoshard_rows._verdict(about)["verdict"] == "unfit"
    about["experts"] = {"one": _figures(1, 1, 1)}
    assert autoshard_rows._verdict(about)["verdict"] == "worse"


def test_the_table_marks_what_is_worse() -> None:
    row = {
        "case": "m 2x4 tight", "model": "m", "mesh": "2x4", "limit": "tight", "bytes_limit": 10e9, "verdict": "worse",
        "ours": _figures(2.0, 5e9, 9e9), "experts": {"fast": _figures(1.5, 6e9, 9e9)}, "best": "fast", "fits": True,
        "equal": True, "gap": 0.25, "search_cpu": 7.4, "title": "autoshard",
    }
    text = autoshard_rows.table([row, {"case": "n 2x4 tight", "verdict": "late"}])
    assert text.splitlines()[0].startswith("1 rows: 0 where no expert plan is better")
    assert "1 where one is better, 0 where" in text
    assert text.splitlines()[-1] == (
        "| m | 2x4 | 10.00 tight | **2,000** | 5 | 9.00 | fast | 1,500 | 6 | 25.0% | 7 |"
    )
