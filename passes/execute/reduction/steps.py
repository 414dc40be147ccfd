"""The kinds of reduction, biggest first; each tries what it can and says whether anything worked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from passes import _mlir
from passes.execute.reduction import edits, shapes
from passes.execute.reduction.search import Edit, Search
from passes.pipeline import runner
from passes.program.entry import is_private
from passes.program.read import Program
from passes.program.walk import terminator

# Tries to do without the items at these positions.
Drop = Callable[[set[int]], bool]


def without_chunks(count: Callable[[], int], drop: Drop) -> bool:
    """Drops items in ever smaller chunks, last ones first, until no single one can go.

    ``count`` is asked anew after each success, since dropping one item may take others along.
    """
    found = False
    size = count()
    while size:
        end = count()
        while end > 0:
            start = max(end - size, 0)
            if drop(set(range(start, end))):
                found = True
                end = min(start, count())
            else:
                end = start
        size = min(size // 2, max(count(), 1))
    return found


def drop_results(search: Search) -> bool:
    """Drops results of the entry function."""

    def count() -> int:
        return len(terminator(_body(search)).operands)

    def drop(indices: set[int]) -> bool:
        # Without results, everything would be dead.
        if len(indices) == count():
            return False
        return search.attempt(lambda program: edits.drop_results(search.function(program), indices))

    return without_chunks(count, drop)


def end_early(search: Search) -> bool:
    """Lets the entry function return what is known after fewer ops, which a search by halves finds the number of."""
    found = False
    low, high = 0, len(edits.body_ops(_body(search)))
    while low + 1 < high:
        middle = (low + high) // 2
        if search.attempt(_truncating(search, middle)):
            found = True
            # Ops before the new end may have died with those behind it.
            low, high = 0, len(edits.body_ops(_body(search)))
        else:
            low = middle
    return found


def _truncating(search: Search, count: int) -> Edit:
    return lambda program: edits.truncate(search.function(program), count)


def end_inside(search: Search) -> bool:
    """Lets the entry function end in a region of one of its ops, or in a function that it calls."""
    found = False
    position = 0
    while position < len(ops := edits.body_ops(_body(search))):
        ways = [_ending(search, position, region) for region in range(len(ops[position].regions))]
        if any(search.attempt(way) for way in (_calling(search, position), *ways)):
            found, position = True, 0
        else:
            position += 1
    return found


def _ending(search: Search, position: int, region: int) -> Edit:
    return lambda program: edits.end_in_region(search.function(program), position, region)


def _calling(search: Search, position: int) -> Edit:
    return lambda program: edits.end_in_call(search.function(program), position)


def _body(search: Search) -> Any:
    return search.function().regions[0].blocks[0]


def replace_ops(search: Search) -> bool:
    """Replaces chunks of ops in every block by arguments of the entry function, or by zeros where that cannot be."""
    found = False
    index = 0
    # Blocks come and go with the ops around them.
    while index < len(edits.blocks(search.view.module)):
        found |= _replace_in_block(search, index)
        index += 1
    return found


def _replace_in_block(search: Search, index: int) -> bool:
    def count() -> int:
        blocks = edits.blocks(search.view.module)
        return len(edits.body_ops(blocks[index])) if index < len(blocks) else 0

    def drop(indices: set[int]) -> bool:
        def by_arguments(program: Program) -> bool:
            entry = search.function(program)
            block = edits.blocks(program.module)[index]
            inside = edits.function_of(block) == entry
            return inside and edits.erase_ops(_pick(block, indices), edits.fresh_argument(entry))

        def by_zeros(program: Program) -> bool:
            ops = _pick(edits.blocks(program.module)[index], indices)
            return not all(map(edits.is_constant, ops)) and edits.erase_ops(ops, edits.zero)

        return search.attempt(by_arguments) or search.attempt(by_zeros)

    return without_chunks(count, drop)


def _pick(block: Any, indices: set[int]) -> list[Any]:
    return [op for i, op in enumerate(edits.body_ops(block)) if i in indices]


def skip_ops(search: Search) -> bool:
    """Replaces single ops by operands of the same type, and ops with regions by one region's content."""
    found = False
    position = 0
    while (op := _op_at(search.view, position)) is not None:
        ways = [_inlining(position, r) for r in edits.inlinable_regions(op)]
        ways += [_skipping(position, way) for way in range(len(edits.same_type_operands(op)))]
        if any(search.attempt(way) for way in ways):
            found = True
        else:
            position += 1
    return found


def _op_at(program: Program, position: int) -> Any | None:
    """The op at ``position`` when all blocks' ops are counted in order."""
    for block in edits.blocks(program.module):
        ops = edits.body_ops(block)
        if position < len(ops):
            return ops[position]
        position -= len(ops)
    return None


def _inlining(position: int, region: int) -> Edit:
    return lambda program: edits.inline_region(_op_at(program, position), region)


def _skipping(position: int, way: int) -> Edit:
    def edit(program: Program) -> bool:
        op = _op_at(program, position)
        assert op is not None
        operands = edits.same_type_operands(op)[way]
        return edits.erase_ops([op], lambda result: operands[result.result_number])

    return edit


def inline_functions(search: Search) -> bool:
    """Inlines calls and drops the functions."""

    def edit(program: Program) -> None:
        private = _mlir.ir.StringAttr.get("private", _mlir.context())
        entry = search.function(program)
        for function in edits.defined_functions(program.module):
            if function != entry and not is_private(function):
                function.attributes["sym_visibility"] = private
        runner.run(program, "builtin.module(native-inline,symbol-dce)")

    return search.attempt(edit)


def drop_functions(search: Search) -> bool:
    """Drops functions and meshes that nothing refers to."""

    def edit(program: Program) -> None:
        runner.run(program, "builtin.module(symbol-dce)")

    return search.attempt(edit)


def merge_arguments(search: Search) -> bool:
    """Lets one argument of the entry function stand for another of the same type, and drops unused ones."""
    found = search.attempt(lambda program: _drop_unused(search, program))
    last = len(_arguments(search.function())) - 1
    while last > 0:
        found |= any(search.attempt(_merging(search, last, first)) for first in range(last))
        last = min(last, len(_arguments(search.function()))) - 1
    return found


def _arguments(function: Any) -> Any:
    return function.regions[0].blocks[0].arguments


def _drop_unused(search: Search, program: Program) -> bool:
    function = search.function(program)
    unused = edits.unused_arguments(function)
    edits.drop_arguments(function, unused)
    return bool(unused)


def _merging(search: Search, last: int, first: int) -> Edit:
    def edit(program: Program) -> bool:
        arguments = _arguments(search.function(program))
        if arguments[last].type != arguments[first].type:
            return False
        arguments[last].replace_all_uses_with(arguments[first])
        return _drop_unused(search, program)

    return edit


def drop_attributes(search: Search) -> bool:
    """Drops attributes that no op's meaning depends on, by name."""

    def names() -> list[str]:
        return edits.discardable_names(search.view.module)

    def drop(indices: set[int]) -> bool:
        chosen = {name for i, name in enumerate(names()) if i in indices}
        return search.attempt(lambda program: edits.drop_attributes(program.module, chosen))

    return without_chunks(lambda: len(names()), drop)


def shrink_dimensions(search: Search) -> bool:
    """Makes dimensions smaller, the same everywhere."""
    found = False
    while any(search.attempt(edit) for edit in shapes.shrinkings(search.view)):
        found = True
    return found


# Shrinking comes early too: it makes the predicates that execute the program quick.
STEPS: Sequence[Callable[[Search], bool]] = (
    drop_results, end_early, drop_results, shrink_dimensions, replace_ops, end_inside, skip_ops, inline_functions,
    drop_functions, merge_arguments, drop_attributes, shrink_dimensions,
)
