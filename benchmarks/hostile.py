"""Feeds the command line damaged input: no traceback, nothing dies, hangs, or writes where it should not.

    python benchmarks/hostile.py [--count N] [--first SEED] [--seconds N] [--processes N] [--resume FILE.jsonl]
    python benchmarks/hostile.py --keep KIND:SEED FOLDER

Modules (text, bytecode, portable artifacts), rules files, side tables and device files are damaged byte by byte, token
by token, or by other tokens of the same class, which keeps most of them readable; rules files, side tables and device
files also by what they say, well-formed as they are. Each is given to a command that reads them. A case is named
KIND:SEED; ``--keep`` writes its files and prints its command. The command runs inside the worker process, under a limit
of memory; an audit hook sees which files Python opens for writing and which programs it starts.

  right   a result, or an error in one line, with an exit code that is documented
  wrong   a traceback or an internal error, an undocumented exit code, a program started, a file written elsewhere
  dead, late
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import re
import resource
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import Case, add_options, pace, run, serve  # noqa: E402
from passes.cli.main import main as shlo  # noqa: E402
from passes.partition.partition import partition  # noqa: E402
from passes.program.read import parse  # noqa: E402
from passes.program.write import to_bytecode, to_portable, to_text  # noqa: E402
from tests.generate.program import seeded  # noqa: E402
from tests.partition.random_shardings import annotate_values  # noqa: E402

MEMORY = 6 << 30
CODES = (0, 1, 2, 3)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\w.$]+|[%@#!^]\w+|\s+|.', re.DOTALL)
_NUMBERS = (b"0", b"-1", b"1", b"2147483648", b"9223372036854775807", b"18446744073709551616", b"1e999", b"nan", b"?")
_PIECES = (b"tensor<4x8xf32>", b"tensor<?xf32>", b"tensor<*xf32>", b"tensor<0x0xi4>", b"memref<4xf32>", b"!quant",
           b"{}", b"{", b"}", b"<", b">", b"(", b")", b'"', b"\\", b"dense<>", b"#sdy.sharding<@no, [{\"x\"}]>",
           b"\x00", b"\xff\xfe", b"\n", b"loc(unknown)", b"@main", b"%v1", b"../../etc/passwd",
           b"affine_map<(d0) -> (d0)>")


def damaged(data: bytes, choose: random.Random) -> bytes:
    """``data`` after one to six random edits, of bytes, of tokens, or of tokens that stay in their class."""
    edit = choose.choice((_edit_alike, _edit_alike, _edit_alike, _edit_tokens, _edit_bytes))
    for _ in range(choose.choice((1, 1, 1, 2, 3, 6))):
        data = edit(data, choose)
    return data


def _edit_bytes(data: bytes, choose: random.Random) -> bytes:
    at = choose.randrange(len(data) + 1)
    end = min(len(data), at + choose.choice((1, 1, 2, 8, 64)))
    kind = choose.randrange(5)
    if kind == 0:
        return data[:at] + bytes(choose.randrange(256) for _ in range(end - at)) + data[end:]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:end] + data[at:]
    if kind == 3:
        return data[:at] + choose.choice(_PIECES) + data[at:]
    return data[:at]


def _edit_tokens(data: bytes, choose: random.Random) -> bytes:
    tokens = _TOKEN.findall(data)
    solid = [i for i, token in enumerate(tokens) if token.strip()]
    if not solid:
        return data + choose.choice(_PIECES)
    at, other = choose.choice(solid), choose.choice(solid)
    kind = choose.randrange(6)
    if kind == 0:
        tokens[at] = b""
    elif kind == 1:
        tokens[at] = tokens[other]
    elif kind == 2:
        tokens[at], tokens[other] = tokens[other], tokens[at]
    elif kind == 3:
        numbers = [i for i in solid if tokens[i][:1].isdigit()]
        tokens[choose.choice(numbers or solid)] = choose.choice(_NUMBERS)
    elif kind == 4:
        tokens[at] = choose.choice(_PIECES)
    else:
        low, high = sorted((at, other))
        tokens[high:high] = tokens[low:high][:40] * choose.choice((1, 1, 2, 300))
    return b"".join(tokens)


_CLASSES = tuple(map(re.compile, (
    rb"\d[\w.]*", rb'"', rb"%", rb"@", rb"tensor$", rb"(?:stablehlo|sdy|func)\.", rb"[a-z]\w*$",
)))


def _edit_alike(data: bytes, choose: random.Random) -> bytes:
    """Puts another token of its class, or an odd number, in the place of one."""
    tokens = re.findall(rb'"(?:[^"\\]|\\.)*"|[%@]?[\w.$]+|\s+|.', data, re.DOTALL)
    kind = choose.choice(_CLASSES)
    same = [i for i, token in enumerate(tokens) if kind.match(token)]
    if not same:
        return _edit_tokens(data, choose)
    odd = kind is _CLASSES[0] and choose.random() < 0.5
    tokens[choose.choice(same)] = choose.choice(_NUMBERS) if odd else tokens[choose.choice(same)]
    return b"".join(tokens)


def misfit(data: bytes, choose: random.Random) -> bytes:
    """``data`` of JSON or TOML, well-formed still, after one to three edits of what it says."""
    text = data.decode()
    value = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    for _ in range(choose.choice((1, 1, 2, 3))):
        _edit_value(value, choose)
    if text.lstrip().startswith("{"):
        return json.dumps(value).encode()
    return "".join(f"{json.dumps(key)} = {_toml(part)}\n" for key, part in value.items()).encode()


_ODD = (None, True, 0, -1, 3, 2**31, 2**63, -(2**64), 0.5, 1e300, float("inf"), "", "x", "data", "?", "*", "[", "\x00",
        "../a", [], [[]], {}, {"x": 1}, ["x", "x"], [0] * 9)


def _edit_value(value: Any, choose: random.Random) -> None:
    """Takes out, replaces by an odd one, or doubles, one value somewhere inside ``value``."""
    places = list(_places(value))
    if not places:
        return
    holder, key = choose.choice(places)
    kind = choose.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        other, at = choose.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif kind == 2 and isinstance(holder, list):
        holder[key:key] = [copy.deepcopy(holder[key])] * choose.choice((1, 2, 50))
    elif kind == 3 and isinstance(holder, dict):
        holder[choose.choice(("x", "dims", "mesh", "", key + "s"))] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(choose.choice(_ODD))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where values are inside ``value``: each with what holds it, and its key or index there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield value, key
        yield from _places(part)


def _toml(value: Any) -> str:
    """``value`` on one line of TOML; nothing, which TOML has not, is an empty text."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps("" if value is None else value)


def harmed(data: bytes, choose: random.Random) -> bytes:
    """A text of JSON or TOML that is damaged, or says what does not fit."""
    return (damaged if choose.random() < 0.5 else misfit)(data, choose)


# -- what is damaged, and who reads it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """The files of a case, by name, and the command that reads them."""

    files: dict[str, bytes]
    command: list[str]


def _annotated(choose: random.Random) -> Any:
    generated = seeded(choose.randrange(3000), 8, exact=True, on_mesh=True)
    assert generated.mesh is not None
    program = parse(generated.text)
    annotate_values(program, generated.mesh, choose.randrange(1 << 20))
    return program


_READERS = (
    ["opt", "m", "-O", "-o", "out.mlir"], ["shard", "m", "-o", "out.mlir"], ["partition", "m", "-o", "out.mlir"],
    ["lint", "m"], ["cost", "m"], ["show", "m"], ["opt", "m", "--cse", "--emit-bytecode", "-o", "out.mlirbc"],
    ["moe", "m", "-o", "out.mlir"],
)


def _text(choose: random.Random) -> Attack:
    return Attack({"m": damaged(to_text(_annotated(choose).module).encode(), choose)}, list(choose.choice(_READERS)))


def _bytecode(choose: random.Random) -> Attack:
    return Attack({"m": damaged(to_bytecode(_annotated(choose).module), choose)}, list(choose.choice(_READERS)))


def _portable(choose: random.Random) -> Attack:
    return Attack({"m": damaged(to_portable(_annotated(choose).module), choose)}, list(choose.choice(_READERS)))


def _rules(choose: random.Random) -> Attack:
    rules = choose.choice(sorted((ROOT / "examples").glob("*/*.toml")))
    module = (rules.parent / "train_step.mlir") if (rules.parent / "train_step.mlir").exists() else None
    text = module.read_bytes() if module else to_text(_annotated(choose).module).encode()
    return Attack({"m": text, "r.toml": harmed(rules.read_bytes(), choose)},
                  ["shard", "m", "--rules", "r.toml", "-o", "out.mlir"])


def _side_table(choose: random.Random) -> Attack:
    program = _annotated(choose)
    original = to_text(program.module).encode()
    table = partition(program).side_table.to_json().encode()
    return Attack({"a": original, "b": to_text(program.module).encode(), "t.json": harmed(table, choose)},
                  ["verify", "a", "b", "--side-table", "t.json", "--executor=interpreter", "--timeout=20"])


def _device(choose: random.Random) -> Attack:
    device = choose.choice(sorted((ROOT / "passes" / "cost" / "devices").glob("*.toml")))
    return Attack({"m": to_text(_annotated(choose).module).encode(), "d.toml": harmed(device.read_bytes(), choose)},
                  ["cost", "m", "--device", "d.toml"])


KINDS: dict[str, Callable[[random.Random], Attack]] = {
    "text": _text, "bytecode": _bytecode, "portable": _portable, "rules": _rules, "side-table": _side_table,
    "device": _device,
}


# -- what is seen of it ------------------------------------------------------------------------------------------------

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Watch:
    """Sees what Python opens for writing and starts, while it is on; there is no taking an audit hook away."""

    def __init__(self) -> None:
        self.seen: list[str] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.seen is None:
            return
        if event == "open" and isinstance(args[0], (str, bytes)) and isinstance(args[2], int) and args[2] & _WRITES:
            self.seen.append(f"write {os.fsdecode(args[0])}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "exec.untrusted", "shutil.rmtree"):
            self.seen.append(f"{event} {args[0]}")
        elif event == "subprocess.Popen":
            self.seen.append(f"start {' '.join(map(str, args[1]))}")


_OURS = re.compile(r"start \S+ (?:-P )?-m passes\.|start \S*python\S* .*passes\.")


def _strange(seen: list[str], folder: str) -> list[str]:
    """What was done besides writing into ``folder`` and scratch files of ours, and starting our own workers."""
    found = []
    for what in seen:
        path = os.path.realpath(what.removeprefix("write ")) if what.startswith("write ") else ""
        scratch = os.path.realpath(tempfile.gettempdir())
        # A temporary file without a name is opened as its folder.
        fine = path == scratch or path.startswith((folder + os.sep, scratch + os.sep, "/dev/null"))
        fine = fine or path.endswith(".pyc")
        if not (fine or _OURS.match(what) or what.startswith("shutil.rmtree")):
            found.append(what)
    return found


_watch: list[_Watch] = []


def judge(case: Case) -> Case:
    if not _watch:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        _watch.append(_Watch())
    attack = KINDS[case["kind"]](random.Random(case["case"]))
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="shlo-hostile-") as name:
        folder = os.path.realpath(name)
        for file, data in attack.files.items():
            Path(folder, file).write_bytes(data)
        os.chdir(folder)
        _watch[0].seen = seen = []
        try:
            code, out, err = _captured(attack.command)
        finally:
            _watch[0].seen = None
            os.chdir(before)
        # partition writes its side table beside its output.
        named = {word for word in attack.command if word.startswith("out.")} | {"out.side.json"}
        left = set(os.listdir(folder)) - set(attack.files) - named
    reasons = [f"wrote {file}" for file in sorted(left)] + _strange(seen, folder)
    if code not in CODES:
        reasons.append(f"exit code {code}")
    if "Traceback" in out + err or "internal error" in err:
        reasons.append(err[-600:])
    return {"verdict": "wrong" if reasons else "right", "code": code, "reason": " | ".join(reasons)[:1500]}


def _captured(command: list[str]) -> tuple[int, str, str]:
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = shlo(command)
    out.flush()
    return code, out.buffer.getvalue().decode(errors="replace"), err.getvalue()


def cases(first: int, count: int) -> Iterator[list[Case]]:
    """The same in every run; kinds take turns."""
    for seed in range(first, first + count):
        for kind in KINDS:
            yield [{"case": f"{kind}:{seed}", "kind": kind}]


def keep(name: str, folder: Path) -> None:
    """Writes the files of a case and prints its command."""
    attack = KINDS[name.partition(":")[0]](random.Random(name))
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in attack.files.items():
        (folder / file).write_bytes(data)
    print(f"cd {folder} && shlo {' '.join(attack.command)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "hostile.jsonl", case_seconds=60)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds of each kind (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--keep", nargs=2, metavar=("CASE", "FOLDER"), help="write the files of this case")
    args = parser.parse_args()
    if args.keep:
        keep(args.keep[0], Path(args.keep[1]))
        return 0
    if args.worker:
        serve(judge)
        return 0
    found = run(cases(args.first, args.count), args)
    for kind in KINDS:
        of = [record for record in found if record["kind"] == kind]
        codes = Counter(record.get("code") for record in of)
        verdicts = Counter(record["verdict"] for record in of)
        print(f"{kind}: {len(of)} inputs: " + ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))
              + "; exit codes " + ", ".join(f"{code}: {n}" for code, n in sorted(codes.items(), key=str))
              + f"; {pace(of)}")
    return 1 if any(record["verdict"] != "right" for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
