"""Running pipelines: order, failures with places, printing and reports; the same in this process and in the worker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from passes import _mlir
from passes.errors import UserError, Where
from passes.pipeline import reproducer, runner, textual, worker_process
from passes.pipeline.options import PassFailure, Removed, RunOptions
from tests.pipeline.programs import TEXT, UNPROVEN, program

DUMP = re.compile(r"IR Dump (\w+) (\w+): (\S+)")
# The same passes in this process, and with one that needs the worker.
HERE, THERE = "", f",{UNPROVEN}"
TWO = "func.func @first() {\n  return\n}\nfunc.func @second() {\n  return\n}\n"
# stablehlo-legalize-to-vhlo cannot take along ops of other dialects.
FAILING = "builtin.module(canonicalize,stablehlo-legalize-to-vhlo)"
FAILING_TEXT = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n" \
    "  %0 = chlo.erf_inv %a : tensor<4xf32> -> tensor<4xf32>\n  return %0 : tensor<4xf32>\n}\n"


def count(text: str, op: str) -> int:
    return text.count(f"{op} ")


def test_passes_run_in_order_ours_and_native() -> None:
    subject = program()
    result = runner.run(subject, "builtin.module(native-cse,cse,func.func(canonicalize,dead-ops))")
    assert count(str(subject.module), "stablehlo.add") == 1
    assert [(s.anchors, s.name) for s in result.statistics] == [
        (("builtin.module",), "native-cse"),
        (("builtin.module",), "cse"),
        (("builtin.module", "func.func"), "canonicalize"),
        (("builtin.module", "func.func"), "dead-ops"),
    ]
    # The native pass came first and left nothing to ours.
    assert all(c.value == 0 for c in result.statistics[1].counts)


def test_safe_pipelines_start_no_worker() -> None:
    worker_process.shut_down()
    assert not runner.run(program(), "builtin.module(cse,func.func(canonicalize),dead-ops)").isolated
    assert worker_process.running() is None
    assert runner.run(program(), f"builtin.module(cse,{UNPROVEN})").isolated
    assert worker_process.running() is not None


def test_isolation_can_be_switched_off() -> None:
    worker_process.shut_down()
    assert not runner.run(program(), f"builtin.module({UNPROVEN})", RunOptions(isolation=False)).isolated
    assert worker_process.running() is None


def test_the_worker_gives_the_same_program() -> None:
    here, there = program(), program()
    runner.run(here, f"builtin.module(cse,{UNPROVEN})", RunOptions(isolation=False))
    runner.run(there, f"builtin.module(cse,{UNPROVEN})")
    with_locations = {"enable_debug_info": True}
    assert here.module.operation.get_asm(**with_locations) == there.module.operation.get_asm(**with_locations)


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("rest", [HERE, THERE])
def test_options_reach_passes_of_ours(rest: str) -> None:
    subject = program()
    runner.run(subject, f"builtin.module(sample-tag{{text='a \"b\"' also=x,y}}{rest})")
    tags = ", ".join(rf'stablehlo.{name} = "a \22b\22"' for name in ("tag", "x", "y"))
    assert str(subject.module).startswith(f"module attributes {{{tags}}}")


@pytest.mark.usefixtures("samples")
def test_a_pass_of_ours_runs_on_nested_modules_where_told() -> None:
    subject = program("module @a {}\nmodule @b {\n  module @c {}\n}\n")
    result = runner.run(subject, "builtin.module(builtin.module(sample-tag))")
    assert re.findall(r"@(\w) attributes", str(subject.module)) == ["a", "b"]
    assert {c.name: c.value for c in result.statistics[0].counts}["tags"] == 2


@pytest.mark.parametrize("rest", [HERE, THERE])
def test_a_native_failure_is_placed_and_names_the_pass(rest: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PassFailure) as caught:
        runner.run(program(FAILING_TEXT), FAILING[:-1] + rest + ")")
    error = caught.value
    assert (error.exit_code, str(error.where)) == (1, "in.mlir:3:3")
    assert error.message.startswith("pass 'stablehlo-legalize-to-vhlo' failed: failed to legalize")
    assert error.snippet == FAILING_TEXT.splitlines()[2]
    assert error.pass_name == "stablehlo-legalize-to-vhlo"
    assert any(text.startswith("see existing live user here") for _, text in error.notes)
    assert all(where is None or where.file == "in.mlir" for where, _ in error.notes)
    assert [d.severity for d in error.diagnostics] == ["error"]
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("rest", [HERE, THERE])
def test_errors_of_our_passes_come_through(rest: str) -> None:
    with pytest.raises(UserError) as caught:
        runner.run(program(), f"builtin.module(cse,sample-refuse{rest})")
    assert type(caught.value) is UserError
    assert caught.value.render() == (
        f"in.mlir:1:1: error: refused\n{TEXT.splitlines()[0]}\n^\nin.mlir:1:1: note: as told"
    )


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("rest", [HERE, THERE])
def test_each_pass_is_verified(rest: str) -> None:
    with pytest.raises(PassFailure, match="pass 'sample-spoil' failed: redefinition of symbol named") as caught:
        runner.run(program(TWO), f"builtin.module(sample-spoil,cse{rest})")
    assert str(caught.value.where) == "in.mlir:4:1"


@pytest.mark.usefixtures("samples")
def test_verification_can_wait() -> None:
    off = RunOptions(verify_each=False)
    subject = program(TWO)
    runner.run(subject, "builtin.module(sample-spoil)", off)
    assert str(subject.module.operation.get_asm(assume_verified=True)).count("@second") == 2
    with pytest.raises(UserError, match=r"the pipeline left an invalid module: .*redefinition of symbol"):
        runner.run(program(TWO), f"builtin.module(sample-spoil,{UNPROVEN})", off)


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize(("rest", "error"), [(HERE, ZeroDivisionError), (THERE, RuntimeError)])
def test_bugs_are_not_dressed_up_as_user_errors(rest: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="a bug"):
        runner.run(program(), f"builtin.module(sample-break{rest})")
    runner.run(program(), f"builtin.module({UNPROVEN})")


def test_unchecked_pipelines_are_checked() -> None:
    pipeline = textual.read("builtin.module(sdy-reshard-to-collectives)")
    with pytest.raises(UserError, match=r"write func.func\(sdy-reshard-to-collectives\)"):
        runner.run(program(), pipeline)


WARNING_PIPELINE = "builtin.module(sdy-propagation-pipeline)"
WARNING = (
    'sdy.mesh @mesh = <["x"=2]>\n'
    "func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{\"x\"}, {}]>},\n"
    "                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {\"x\"}]>}) -> tensor<8x8xf32> {\n"
    "  sdy.sharding_group %a group_id=0 : tensor<8x8xf32>\n"
    "  sdy.sharding_group %b group_id=0 : tensor<8x8xf32>\n"
    "  return %a : tensor<8x8xf32>\n}\n"
)


@pytest.mark.parametrize("isolation", [True, False])
def test_warnings_are_printed_and_returned(isolation: bool, capfd: pytest.CaptureFixture[str]) -> None:
    result = runner.run(program(WARNING), WARNING_PIPELINE, RunOptions(isolation=isolation))
    assert [d.severity for d in result.diagnostics] == ["warning"]
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("in.mlir:2:1: warning: The initial operand shardings on the sharding groups")
    assert lines[1:3] == [WARNING.splitlines()[1], "^"]
    assert lines[3].startswith("in.mlir:2:1: note: see current operation: func.func @main(")
    assert lines[3].endswith("{ ...")
    assert len(lines) == 4


@pytest.mark.parametrize("isolation", [True, False])
def test_recorded_diagnostics_are_not_printed(isolation: bool, capfd: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(isolation=isolation)
    with _mlir.record_diagnostics() as said:
        runner.run(program(WARNING), WARNING_PIPELINE, options)
        with pytest.raises(PassFailure):
            runner.run(program(FAILING_TEXT), FAILING[:-1] + f",{UNPROVEN})", options)
    assert [d.severity for d in said] == ["warning", "error"]
    assert capfd.readouterr().err == ""


PRINTED = f"builtin.module(cse,func.func(native-cse,canonicalize),sdy-export-pipeline,{UNPROVEN})"


def dumps(options: RunOptions, capfd: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    capfd.readouterr()
    runner.run(program(), PRINTED, options)
    return [(side, name.partition("{")[0]) for side, _, name in DUMP.findall(capfd.readouterr().err)]


@pytest.mark.parametrize("isolation", [True, False])
@pytest.mark.parametrize("timing", [True, False])
def test_printing_before_and_after_chosen_passes(
    isolation: bool, timing: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(
        isolation=isolation, timing=timing, print_before=("canonicalize",), print_after=("cse", "sdy-close-shardings")
    )
    found = dumps(options, capfd)
    # canonicalize and sdy-close-shardings occur inside the native pipeline, too.
    canonicalize = ("Before", "canonicalize")
    expected = [("After", "cse"), canonicalize, ("After", "sdy-close-shardings"), canonicalize]
    # With times taken, one manager holds all passes, where ours and native-cse have the same name.
    assert found == ([("After", "cse"), *expected] if timing else expected)


def test_printing_around_all_passes(capfd: pytest.CaptureFixture[str]) -> None:
    found = dumps(RunOptions(print_before_all=True, print_after_all=True), capfd)
    assert found[:6] == [(side, name) for name in ("cse", "cse", "canonicalize") for side in ("Before", "After")]
    assert found[-2:] == [("Before", "sdy-drop-sharding-rules"), ("After", "sdy-drop-sharding-rules")]
    assert ("After", "sdy-close-shardings") in found


@pytest.mark.parametrize("option", ["print_after_change", "both"])
def test_printing_after_a_change(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(print_after_change=True, print_after_all=option == "both")
    runner.run(program(), "builtin.module(cse,dead-ops,native-cse)", options)
    assert [name for _, _, name in DUMP.findall(capfd.readouterr().err)] == ["cse"]


def test_printing_forms(capfd: pytest.CaptureFixture[str]) -> None:
    text = TEXT.replace("%0, %1", "%0, %c").replace("  %2", "  %c = stablehlo.constant dense<[1.,2.,3.,4.,5.,6.,7.,8.]>"
                                                  " : tensor<8xf32>\n  %2")
    options = RunOptions(print_generic=True, print_debuginfo=True, elide_larger_than=4, print_after=("canonicalize",),
                         print_module_scope=True)
    runner.run(program(text), "builtin.module(func.func(canonicalize))", options)
    printed = capfd.readouterr().err
    assert '"builtin.module"()' in printed
    assert "__elided__" in printed
    assert 'loc("-":3:8)' in printed


def test_printing_leaves_the_context_as_it_was() -> None:
    threads = _mlir.context().get_num_threads()
    runner.run(program(), "builtin.module(cse)", RunOptions(print_after_all=True))
    assert _mlir.context().get_num_threads() == threads


def tree(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("rest", [HERE, THERE])
def test_a_tree_of_files(rest: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = RunOptions(print_after_all=True, tree_dir=str(tmp_path / "tree"))
    runner.run(program(), f"builtin.module(cse,func.func(canonicalize),dead-ops{rest})", options)
    files = {name.rpartition("/")[2] for name in tree(tmp_path / "tree")}
    expected = {"0_cse.mlir", "1_dead-ops.mlir", "0_0_canonicalize.mlir"}
    assert files == (expected | {"1_1_sdy-drop-sharding-rules.mlir"} if rest else expected)
    assert capfd.readouterr().err == ""


def test_a_tree_of_chosen_passes(tmp_path: Path) -> None:
    options = RunOptions(print_after=("canonicalize",), tree_dir=str(tmp_path / "tree"))
    runner.run(program(), "builtin.module(cse,func.func(canonicalize))", options)
    (name,) = tree(tmp_path / "tree")
    assert name.endswith("func_func_main/0_0_canonicalize.mlir")
    assert "IR Dump After CanonicalizerPass" in (tmp_path / "tree" / name).read_text()


def test_a_tree_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    subject = program()
    with pytest.raises(UserError, match="cannot make the folder for printed IR"):
        runner.run(subject, "builtin.module(cse)", RunOptions(print_after_all=True, tree_dir=str(tmp_path / "file/x")))
    assert count(str(subject.module), "stablehlo.add") == 2


@pytest.mark.parametrize("rest", [HERE, THERE])
def test_times_are_reported_once_for_all_passes(rest: str, capfd: pytest.CaptureFixture[str]) -> None:
    runner.run(program(), f"builtin.module(cse,func.func(canonicalize){rest})", RunOptions(timing=True))
    printed = capfd.readouterr().err
    assert printed.count("Execution time report") == 1
    assert re.search(r"Cse\n.*'func.func' Pipeline\n.*CanonicalizerPass\n", printed, re.DOTALL)


@pytest.mark.parametrize("rest", [HERE, THERE])
def test_a_failure_has_a_name_also_when_times_are_taken(rest: str) -> None:
    with pytest.raises(PassFailure, match="pass 'stablehlo-legalize-to-vhlo' failed"):
        runner.run(program(FAILING_TEXT), FAILING[:-1] + rest + ")", RunOptions(timing=True))


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("rest", [HERE, THERE])
def test_statistics_report(rest: str, capfd: pytest.CaptureFixture[str]) -> None:
    pipeline = f"builtin.module(sample-tag{{times=12}},func.func(canonicalize,sample-tag){rest},sample-tag{{times=0}})"
    runner.run(program(), pipeline, RunOptions(statistics=True))
    unproven = "  sdy-drop-sharding-rules\n" if rest else ""
    assert capfd.readouterr().err == f"""\
===-------------------------------------------------------------------------===
                         ... Pass statistics report ...
===-------------------------------------------------------------------------===
sample-tag
  (S)  2 functions - functions seen
  (S) 12 tags      - modules tagged
'func.func' Pipeline
  canonicalize
  sample-tag
    (S) 2 functions - functions seen
    (S) 1 tags      - modules tagged
{unproven}sample-tag
  (S) 2 functions - functions seen
  (S) 0 tags      - modules tagged

"""


@pytest.mark.usefixtures("samples")
@pytest.mark.parametrize("rest", [HERE, THERE])
def test_what_was_removed_is_reported_if_asked(rest: str, capfd: pytest.CaptureFixture[str]) -> None:
    subject = program("""\
func.func @main(%a: tensor<4xf32>) {
  %0 = stablehlo.negate %a : tensor<4xf32>
  %1 = stablehlo.abs %a : tensor<4xf32> loc("model.py":7:1)
  %2 = stablehlo.abs %a : tensor<4xf32> loc("model.py":7:9)
  return
}
""")
    pipeline = f"builtin.module(sample-remove{{why='of no use'}}{rest},sample-remove)"
    result = runner.run(subject, pipeline, RunOptions(explain_removed=10))
    assert result.statistics[0].removals == (
        Removed("of no use", "stablehlo.abs", Where("model.py", 7), "", 2),
        Removed("of no use", "stablehlo.negate", Where("in.mlir", 2), "", 1),
    )
    assert result.statistics[-1].removals == ()
    native = "sdy-drop-sharding-rules: a native pass, which does not say what it removes\n" if rest else ""
    assert capfd.readouterr().err == f"""\
sample-remove: 3 ops removed
  3  of no use (2 stablehlo.abs, 1 stablehlo.negate)
    2  model.py:7: stablehlo.abs
    1  in.mlir:2: stablehlo.negate
{native}sample-remove: 0 ops removed
"""


@pytest.mark.usefixtures("samples")
def test_removals_are_not_noted_unless_asked(capfd: pytest.CaptureFixture[str]) -> None:
    subject = program("func.func @main(%a: tensor<4xf32>) {\n  %0 = stablehlo.negate %a : tensor<4xf32>\n  return\n}\n")
    assert runner.run(subject, "builtin.module(sample-remove)").statistics[0].removals is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rest", [HERE, THERE])
def test_a_failing_pass_leaves_a_reproducer_if_asked(rest: str, tmp_path: Path) -> None:
    path = str(tmp_path / "r.mlir")
    with pytest.raises(PassFailure) as caught:
        runner.run(program(FAILING_TEXT), FAILING[:-1] + rest + ")", RunOptions(crash_reproducer=path))
    assert caught.value.notes[-1] == (None, f"reproduce with: shlo-opt --run-reproducer {path}")
    recorded = reproducer.read(path)
    assert recorded.pipeline == "builtin.module(stablehlo-legalize-to-vhlo)"
    with pytest.raises(PassFailure) as again:
        runner.run(program(recorded.module_text), recorded.pipeline)
    assert again.value.message == caught.value.message


def test_a_reproducer_that_cannot_be_written_does_not_hide_the_failure(tmp_path: Path) -> None:
    options = RunOptions(crash_reproducer=str(tmp_path / "absent" / "r.mlir"))
    with pytest.raises(PassFailure, match="pass 'stablehlo-legalize-to-vhlo' failed") as caught:
        runner.run(program(FAILING_TEXT), FAILING, options)
    assert caught.value.notes[-1][1].startswith("cannot write the reproducer")
