"""Writes the pages of docs/ that follow from the code: ``python docs/generate.py`` (``--check`` only compares)."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import inspect
import io
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.headlines import page as benchmarks_page
from passes.cli.main import SUBCOMMANDS, main
from passes.optimize.rewriting import Rule
from passes.optimize.rules import RULES
from passes.partition.rows import ROWS, WITHOUT_ROW, Row

COLLECTIVES = """\
## Collectives

Once every op is lowered, passes look at the collectives; `shlo opt` runs them on per-device programs too. A traced
program (`--trace`) keeps the collectives of its plan.

- [`cancel-moves`](passes.md): a device's part of what was gathered, or gathered parts of one value, are what was there
  before, or an all_to_all; its part of an all_reduce is a reduce_scatter. Bits stay.
- [`delay-reductions`](passes.md): where results of all_reduces of one group, or of reduce_scatters, are added up,
  their operands are added up and reduced once. Integers keep every bit. Floating-point sums are added in another order,
  so their rounding changes and `close` is what can be claimed; where nothing rounds (`--inputs exact`) the bits stay,
  but for the sign of a zero. The summary says how many sums it was; `--keep-sum-order` leaves them.
- [`merge-collectives`](passes.md): a collective that only feeds the next one of its kind, over other axes, is done by
  that one, over all of them. Sums of floating-point numbers change their order, as above.
- [`hoist-gathers`](passes.md), with `--hoist-gathers`: an all_gather of a value that a loop carries unchanged, such as
  a weight, is done once before the loop. Bits stay; the summary says what memory it takes.
- [`combine-collectives`](passes.md), with `--combine-collectives=BYTES`: independent all_reduces or all_gathers of one
  group become one of several operands. Bits stay, the bytes too. XLA's layout assignment (jaxlib 0.10.2) fails on an
  all_reduce of several operands that has a channel, as those of per-device programs have: `shlo verify` and `shlo run`
  get around that; other runtimes may not. Its CPU backend also computes all_gathers of several operands wrongly at
  times (bf16 arrays of unlike rank, jaxlib 0.10.2), which both get around by gathering each by itself.
"""
INDEXED = """\
## Windows along split dimensions

Convolutions, poolings, slices and the like leave a dimension split, and devices fetch the strips that they read from
their neighbours. Where sizes shrink so far that the axes no longer divide them, such as 4 rows on 4 devices of which a
stride of 2 makes 2, both sides are split over the axes that divide both: pairs of devices gather 2 rows, and fetch the
strips between pairs. On `examples/resnet50` with images split by rows each device sends 671 kB that way; with all 4
rows gathered it would be 835 kB, with 2 rows padded to 4 it is 1,179 kB, and XLA's partitioner, which pads and sends
strips between some of the devices, sends 753 kB.

## Indexed dimensions

A gather or dynamic_slice from a split dimension either gathers the shards, `(n - 1) * shard` bytes per device, or lets
each device yield what it holds and sums that, `2 (n - 1) / n * result`; half, where the result is split over the same
axes. The smaller is taken, op by op. The sum is exact, for all but one device put in what addition leaves unchanged:
-0.0 for floats (0.0 would lose the sign of a zero), `false` for truth values. Infinities stay, a NaN stays a NaN. Where
a runtime flushes subnormal numbers in additions, as XLA's CPU backend does, they read as zeros. Types of 8 bits and
fewer that are no integers are gathered, as are windows of several rows.

A scatter or dynamic_update_slice into a split dimension needs no communication: each device writes what falls into its
shard. Split updates are gathered, or the results reduced by the op's own region, whichever is fewer bytes; updates
added to zeros (gradients of embeddings) are always reduced, for their sums meet others.
"""
HELD = """\
## What it is held to

Each of these executes the per-device program on virtual devices and compares all results with those of the
original (2026-11-26, commit 3f7a490 and before; the commands make the figures again):

- `python benchmarks/partition_matrix.py`: each dimension of each operand and result of 193 programs split on
  meshes of 2, 2x2, 2x4, 3x2 and 2x2x2, dividing or not, on inputs on which nothing rounds. 13,962 cells, all
  bit-equal (4 but for the sign of a zero): 10,971 compute in parts and move nothing but sums, 2,798 move parts,
  in 193 the op is replicated around.
- `python benchmarks/partition_sweep.py`: random meshes of one to three axes of 2, 3 and 4, random shardings of
  arguments, results and values in between. 2,564 cases of 193 op programs and 21 models, none differs, none
  died, none was refused.
- `python benchmarks/partition_corpus.py`: examples and corpus under three plans at least, `--large` those that
  no machine here can run, which are checked for their structure instead.
"""
PADDING = """\
## Dimensions that do not divide

A dimension of 50257 over an axis of 8 is padded to 50264, by [`pad-dimensions`](passes.md) on the global program, once
shardings are propagated and before anything is planned. The padding holds garbage, which reaches no result: it stays
where it is in ops that compute element by element along the dimension; a sum sees -0.0 there, a maximum the lowest
number, a product 1, a dot or convolution zeros on both sides, a scatter indices out of bounds, a division of whole
numbers 1; indices into a padded table are clamped to its true size. Any other op gets the true size (which gathers the
dimension). Loops carry padded values, branches return them.

- An **argument or result** that its sharding does not divide is refused, with the nearest sizes that would do. With
  `--pad-arguments` it is padded, and the side table has its `padded_shape`. The padding of arguments may hold anything
  (`shlo verify` puts NaN there); that of results says nothing.
- A value inside that **the user constrained** is padded.
- What **propagation** got there is padded where that takes more work off a device than it costs: bytes of memory, a
  byte for 100 FLOPs, against 16 for every byte that moves to another device where the true size is needed. Otherwise it
  is split over those of its axes, from the major one on, that divide it, which 2 rows on 4 devices always are: two of
  the devices have nothing to do in any case. So it is, too, where padding would more than double it.

The summary says what was padded to what, and what is whole and why. `shlo shard` alone pads nothing: it leaves such
dimensions whole, so give `shlo partition` the rules file where they are to be padded.
"""
FORMS = """\
## Forms of the result

- By default types are local, no `sdy` is left, devices are the partitions of one replica (`mhlo.num_partitions`), and
  collectives have channels and groups of device ids. The side table says how the global tensors are cut.
- `--device-id=replica`: devices are replicas (`mhlo.num_replicas`, `replica_id`, groups without channels). XLA's CPU
  backend compiles that as it stands; one of several partitions it only runs if its own partitioner made it.
- `--keep-sdy`: the mesh stays, and each argument and result of the entry function, whose type is local, has the
  `sdy.sharding` of the global tensor, on the axes of the input: what the side table says, for tools that read MLIR.
  Ops inside carry no shardings. To Shardy such a module looks like a global program; do not propagate in it again.
- `--style=manual`: types are global again, and one `sdy.manual_computation` over all axes holds the per-device program.
  XLA's partitioner and `shlo partition` take it back. Parts of axes become axes of their own (`"y":(1)2` is `"y.0"`).
- A `sdy.propagation_barrier` is an identity, once shardings are there; the plan moves what lies otherwise behind it.
- `--device-constants`: a table of which each device reads another part is no constant of the program any more: the part
  is one more argument, behind those of the global program. The side table has the constant (`data`, base64 of its
  elements row by row) and where each device's part `starts`, so no device holds the whole; `shlo verify` hands parts
  out by it. Functions are inlined. What is one element for each device stays in the program, and so do tables of
  complex numbers, of truth values, of fewer than eight bits and of short floats that numpy does not know.
- Functions are kept, one for each way in which it is planned; `--inline` inlines them.

"""
DOCS = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py; change the code instead. -->\n"


def command_line() -> str:
    """``--help`` of every subcommand."""
    sections = [f"## shlo {name}\n\n```\n{_output(name, '--help')}```\n" for name in SUBCOMMANDS]
    return "\n".join([NOTE, "# Command line\n", f"```\n{_output('--help')}```\n", *sections])


def passes() -> str:
    """The reference of the passes, from their declarations."""
    return f"{NOTE}\n{_output('passes').replace('# ', '## ').replace('### ', '## ')}".replace(
        NOTE, f"{NOTE}\n# Passes\n\nThe output of `shlo passes`.\n", 1
    )


def lowering() -> str:
    """The lowering table: what becomes of each op when its operands or results are split."""
    groups: dict[Row, list[str]] = {}
    for name, row in ROWS.items():
        groups.setdefault(row, []).append(name)
    rows = [f"| {', '.join(f'`{n}`' for n in sorted(names))} | {_line(row.note)} |" for row, names in groups.items()]
    reasons: dict[str, list[str]] = {}
    for name, reason in WITHOUT_ROW.items():
        reasons.setdefault(reason, []).append(name)
    others = [f"| {', '.join(f'`{n}`' for n in names)} | {reason} |" for reason, names in reasons.items()]
    return "\n".join(
        [
            NOTE,
            "# What `shlo partition` does with each op",
            "",
            "An op that is not listed runs replicated: its operands are gathered, every device runs all of it, and the",
            "summary says so. So does a listed op whose plan its guard refuses.",
            "",
            *PADDING.splitlines(),
            "",
            *FORMS.splitlines(),
            *COLLECTIVES.splitlines(),
            "",
            *INDEXED.splitlines(),
            "",
            *HELD.splitlines(),
            "",
            "## Ops",
            "",
            "| ops | lowering |",
            "|---|---|",
            *rows,
            "",
            "## Ops of StableHLO that are not in that table",
            "",
            "| ops | why |",
            "|---|---|",
            *others,
            "",
        ]
    )


def rules() -> str:
    """The rewrite rules of ``simplify``."""
    rows = [
        f"| `{rule.name}` | {rule.pattern} | {rule.result} | {rule.why}{_condition(rule)} |".replace("x | ", "x \\| ")
        for rule in RULES
    ]
    return "\n".join(
        [
            NOTE,
            "# The rules of `simplify`",
            "",
            "Each keeps every bit of every result, NaN payloads aside; `simplify{skip=NAME}` leaves one out, and",
            "`--mlir-pass-statistics` counts them. An op that carries a sharding, or any other attribute that is not",
            "its own, stays as it is.",
            "",
            "| rule | what | becomes | why that is the same |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _condition(rule: Rule) -> str:
    return f"; only under `{rule.needs.replace('_', '-')}`" if rule.needs else ""


def _line(text: str) -> str:
    return " ".join(text.split())


def _output(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        main(arguments)
    return out.getvalue()


def benchmarks() -> str:
    """The figures that docs/benchmarks.json keeps."""
    return f"{NOTE}\n{benchmarks_page()}"


# Modules whose functions and classes programs may call, in the order of the flow.
PUBLIC = (
    "passes.program.read", "passes.program.write", "passes.optimize.optimize", "passes.pipeline.runner",
    "passes.sharding.rules_file", "passes.sharding.named_shardings", "passes.sharding.annotate",
    "passes.sharding.propagate", "passes.partition.partition", "passes.partition.improve", "passes.partition.report",
    "passes.partition.side_table", "passes.moe.sparsify", "passes.cost.estimate", "passes.autoshard",
    "passes.execute.executor", "passes.execute.verify", "passes.errors",
)


def api() -> str:
    """Every public function and class of `PUBLIC`, from its signature and docstring."""
    sections = [
        NOTE, "# Python API", "",
        "What a program may call, in the order in which a module passes through. Names that are not listed here are",
        "ours and may change; README.md has an example of the whole way.", "",
    ]
    for name in PUBLIC:
        module = importlib.import_module(name)
        sections += [f"## {name}", "", inspect.cleandoc(module.__doc__ or ""), ""]
        for member, value in vars(module).items():
            if not member.startswith("_") and getattr(value, "__module__", None) == name and value.__doc__:
                sections += [f"### {member}", "", "```text", *_described(member, value).splitlines(), "```", ""]
    return "\n".join(sections)


def _described(name: str, value: Any) -> str:
    """The signature and the docstring, and for a class those of its public methods."""
    lines = [f"{name}{_signature(value)}", "", *_indent(inspect.cleandoc(value.__doc__))]
    for member, found in vars(value).items() if inspect.isclass(value) else ():
        function = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
        if member.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        call = "" if isinstance(found, property) else _signature(function)
        lines += ["", *_indent(f"{member}{call}"), *_indent(inspect.cleandoc(function.__doc__), 8)]
    return "\n".join(lines)


def _signature(value: Any) -> str:
    """The signature with types as they are written; defaults that are objects would print their addresses."""
    if not inspect.isfunction(value) and not dataclasses.is_dataclass(value):
        return ""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(value)))
    return re.sub(r"<factory>|<[^>]* at 0x[0-9a-f]+>", "...", text)


def _indent(text: str, width: int = 4) -> list[str]:
    return textwrap.indent(text, " " * width).splitlines()


PAGES = {
    "command-line.md": command_line, "passes.md": passes, "lowering.md": lowering, "simplify.md": rules,
    "benchmarks.md": benchmarks, "api.md": api,
}


def run(check: bool) -> int:
    """Writes the pages, or with ``check`` names those that differ; returns an exit code."""
    stale = []
    for name, make in PAGES.items():
        path, text = DOCS / name, make()
        if not path.is_file() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    for name in stale:
        print(f"docs/{name}: {'is stale; run python docs/generate.py' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(run("--check" in sys.argv[1:]))
