"""Injected bugs: for each a file, the text that is there once, what stands there instead, and what it breaks.

`benchmarks/mutation.py` puts them in one at a time and asks who notices.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One bug.

    Attributes:
      file: Under ``passes/``.
      tests: The test files under ``tests/`` that should notice, the likeliest first.
      stage: Which programs of the fuzzer may notice; empty for none.
    """

    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]
    stage: str = ""

    @property
    def name(self) -> str:
        """The file and what breaks."""
        return f"{self.file}: {self.breaks}"


def _of(file: str, tests: str, stage: str, *bugs: tuple[str, str, str]) -> list[Mutation]:
    return [Mutation(file, old, new, breaks, tuple(tests.split()), stage) for breaks, old, new in bugs]


_SIMPLIFY = "optimize/simplify.mlir optimize/test_simplify.py optimize/test_optimize_properties.py"
_CSE = "optimize/cse.mlir optimize/test_cse.py optimize/test_optimize_properties.py"
_OPS = "partition/test_collectives.py partition/test_executable_ops.py"

OPTIMIZE = [
    *_of(
        "optimize/rules/arithmetic.py",
        _SIMPLIFY,
        "optimize",
        (
            "x + 0.0 is x for x = -0.0",
            "return elements.is_negative_zero(value) or (value == 0 and site.tensor.is_integral)",
            "return value == 0",
        ),
        (
            "float x - x is 0.0, NaN for infinity",
            "return site.fill(site.type, 0) if first == second and site.tensor.is_integral else None",
            "return site.fill(site.type, 0) if first == second else None",
        ),
        ("truth * true counted as times one", 'return value == 1 and site.tensor.kind != "bool"', "return value != 0"),
        (
            "x + -y becomes y - x",
            'return site.create("subtract", [kept, x], site.type)',
            'return site.create("subtract", [x, kept], site.type)',
        ),
        (
            "x - -y becomes x - y",
            'return None if x is None else site.create("add", [first, x], site.type)',
            'return None if x is None else site.create("subtract", [first, x], site.type)',
        ),
    ),
    *_of(
        "optimize/rules/control_flow.py",
        _SIMPLIFY,
        "optimize",
        (
            "a case index out of range takes the first branch",
            "index = int(number) if 0 <= number < len(regions) else len(regions) - 1",
            "index = int(number) if 0 <= number < len(regions) else 0",
        ),
        (
            "a loop whose condition is known runs never",
            "if site.sweep.splat(owner.operation) == 0 else None",
            "if site.sweep.splat(owner.operation) is not None else None",
        ),
    ),
    *_of(
        "optimize/rules/selection.py",
        _SIMPLIFY,
        "optimize",
        ("x <= x is false", 'direction in ("EQ", "LE", "GE"))', 'direction in ("EQ", "GE"))'),
        (
            "a known select takes the other value",
            "return None if value is None else first if value else second",
            "return None if value is None else second if value else first",
        ),
        (
            "a select of a negation is not turned",
            'return site.create("select", [inner.operands[0], second, first], site.type)',
            'return site.create("select", [inner.operands[0], first, second], site.type)',
        ),
    ),
    *_of(
        "optimize/rules/shapes.py",
        _SIMPLIFY,
        "optimize",
        (
            "a transpose of equal sizes is nothing",
            "return site.operands[0] if permutation == sorted(permutation) else None",
            "return site.operands[0] if site.operands[0].type == site.type else None",
        ),
        (
            "a broadcast that transposes is a reshape",
            "real = [d for i, d in enumerate(dims) if shape[i] != 1]",
            "real: list[int] = []",
        ),
        (
            "a broadcast of equal type is nothing",
            "return x if x.type == site.type and _broadcast_dims(site) == list(range(len(x.type.shape))) else None",
            "return x if x.type == site.type else None",
        ),
    ),
    *_of(
        "optimize/rules/conversions.py",
        _SIMPLIFY,
        "optimize",
        (
            "all floats hold all integers of their width",
            "bits <= FLOATS[target.element][0] and bits <= FLOATS[target.element][1]",
            "bits <= target.width",
        ),
        (
            "signed to unsigned loses nothing",
            'return target.kind == "unsigned" and source.kind != "int" and bits <= target.width',
            'return target.kind == "unsigned" and bits <= target.width',
        ),
    ),
    *_of(
        "optimize/rules/slices.py",
        _SIMPLIFY,
        "optimize",
        (
            "a slice over two parts of a concatenation",
            "if offset <= starts[dimension] and limits[dimension] <= offset + size:",
            "if offset <= starts[dimension] < offset + size:",
        ),
    ),
    *_of(
        "optimize/rules/folding.py",
        _SIMPLIFY,
        "optimize",
        (
            "-0.0 and 0.0 are one splat",
            "if result.ndim == 0 or (result.size and (result == result.flat[0]).all() and not _has_zero(result)):",
            "if result.ndim == 0 or (result.size and (result == result.flat[0]).all()):",
        ),
    ),
    *_of(
        "optimize/rules/reductions.py",
        _SIMPLIFY,
        "optimize",
        (
            "a product from 0 is one from 1",
            'lambda site, value, x: value == 1 and site.tensor.kind != "other"',
            'lambda site, value, x: site.tensor.kind != "other"',
        ),
        (
            "a maximum from anything is one from the least",
            'lambda site, value, x: site.tensor.kind != "other" and value == elements.least(site.tensor)',
            'lambda site, value, x: site.tensor.kind != "other"',
        ),
    ),
    *_of(
        "optimize/normal_form.py",
        _CSE,
        "optimize",
        ("subtraction commutes", '    "add": _commuted,\n', '    "add": _commuted,\n    "subtract": _commuted,\n'),
        ("a < b is b < a", '{"LT": "GT", "GT": "LT",', '{"LT": "LT", "GT": "GT",'),
        ("complex products commute", '"multiply": _commuted_unless_complex', '"multiply": _commuted'),
    ),
    *_of(
        "optimize/cse.py",
        _CSE,
        "optimize",
        (
            "what a branch computed is known behind it",
            "        self.known, self.depth = known, depth\n        return inside",
            "        self.depth = depth\n        return inside",
        ),
        (
            "random numbers are drawn once",
            "if effect in (Effect.UNIQUE, Effect.EFFECT):",
            "if effect is Effect.EFFECT:",
        ),
        (
            "sharding groups are not looked at",
            "            if self.groups:\n                key = (*key,",
            "            if False:\n                key = (*key,",
        ),
    ),
    *_of(
        "program/purity.py",
        "program/test_purity.py optimize/dead_ops.mlir optimize/test_dead_ops.py optimize/test_cse.py",
        "optimize",
        (
            "calls with side effects are pure",
            'if "has_side_effect" in attributes and _mlir.ir.BoolAttr(attributes["has_side_effect"]).value:',
            "if False:",
        ),
        (
            "barriers merge",
            '_HLO_UNIQUE = "after_all async_done async_start create_token optimization_barrier rng"',
            '_HLO_UNIQUE = "after_all async_done async_start create_token rng"',
        ),
        ("tokens do not matter", 'return str(type) in ("!stablehlo.token", "!mhlo.token")', "return False"),
    ),
    *_of(
        "optimize/rewriting.py",
        _SIMPLIFY,
        "optimize",
        ("what carries a sharding is replaced", "return not _OWN_ATTRIBUTES.issuperset(op.attributes)", "return False"),
        (
            "ops with regions are looked at once",
            "            self._inside(op)\n            before = self._changes",
            "            before = self._changes",
        ),
        (
            "what goes with a region leaves nothing to others",
            "used = [*site.operands, *(self._forget_inside(op) if site.name in _WITH_REGIONS else ())]",
            "used = list(site.operands)",
        ),
        ("ops above that are left a value are not looked at again", "self._left_to_one.append(value)", "pass"),
        (
            "a region is not swept again after its op changed in place",
            "if found is not None or self._changes == before:",
            "if True:",
        ),
    ),
]

SHARDING = [
    *_of(
        "sharding/mesh.py",
        "partition/test_prime_axes.py execute/test_verify.py partition/test_executable_ops.py",
        "partition",
        (
            "axes of a dimension are minor to major",
            "index = index * axis.size + self.coordinate(device, axis)",
            "index = index + axis.size * self.coordinate(device, axis)",
        ),
        (
            "sub-axes count from the minor end",
            "// (full // (axis.pre_size * axis.size)) % axis.size",
            "// axis.pre_size % axis.size",
        ),
        (
            "renumbered devices are forgotten",
            "return self.device_ids or tuple(range(self.device_count))",
            "return tuple(range(self.device_count))",
        ),
        (
            "groups are in the order of devices",
            "[[device for _, device in sorted(members)] for members in found.values()]",
            "[sorted(device for _, device in members) for members in found.values()]",
        ),
    ),
    *_of(
        "sharding/op_rule_table.py",
        "sharding/op_rules.mlir sharding/test_op_rules.py partition/test_executable_ops.py",
        "partition",
        (
            "padded dimensions stay split",
            "if any(values)]\n    return rule.replicating(factors_at(padded,",
            "if all(values)]\n    return rule.replicating(factors_at(padded,",
        ),
        (
            "a lost factor of a reshape stays split",
            "either = _present(rule.operands[0]) ^ _present(rule.results[0])",
            "either = _present(rule.operands[0]) & _present(rule.results[0])",
        ),
        (
            "updates of part of a dimension stay split",
            "if factors != update[d]]\n    if support.update_into_shards:",
            "if factors == update[d]]\n    if support.update_into_shards:",
        ),
        ("random bits are split", '"stablehlo.rng_bit_generator": _all', '"stablehlo.rng_bit_generator": _move'),
        (
            "groups of a batch norm's features",
            "others = frozenset(range(len(shape))) - {feature}",
            "others = frozenset({feature})",
        ),
    ),
    *_of(
        "sharding/divisibility.py",
        "sharding/test_divisibility.py",
        "partition",
        ("axes that do not divide together stay", "if size % (shards * axis.size) == 0:", "if size % axis.size == 0:"),
    ),
    *_of(
        "partition/prime_axes.py",
        "partition/test_prime_axes.py",
        "partition",
        (
            "a priority without an axis stays",
            "priority = d.priority if axes or not d.is_closed else None",
            "priority = d.priority",
        ),
    ),
]

PARTITION = [
    *_of(
        "partition/windows.py",
        "partition/halo.mlir partition/test_halo.py partition/test_executable_ops.py",
        "partition",
        (
            "a running sum from the end runs from the start",
            "{(window.size - 1, 0): 1, (0, window.size - 1): -1}",
            "{(window.size - 1, 0): 1, (0, window.size - 1): 1}",
        ),
        ("groups of features are split", "if max(groups) > 1 and any(features):", "if False:"),
        (
            "a kernel's split size is its whole size",
            "return replace(spatial, window=replace(spatial.window, size=spatial.window.size * shards))",
            "return spatial",
        ),
    ),
    *_of(
        "partition/geometry.py",
        "partition/halo.mlir partition/test_halo.py partition/test_executable_ops.py",
        "partition",
        (
            "one element too few for windows",
            "count = (reach - 1 - low) // window.base + 1",
            "count = (reach - 1 - low) // window.base",
        ),
        (
            "a slice begins at zero",
            "return Need(results * stride, start, (results - 1) * stride + 1)",
            "return Need(results * stride, 0, (results - 1) * stride + 1)",
        ),
        ("a padded dimension's low edge counts double", "low = window.low % window.base\n", "low = window.low\n"),
    ),
    *_of(
        "partition/halo.py",
        "partition/halo.mlir partition/test_halo.py partition/test_executable_ops.py",
        "partition",
        (
            "strips go the other way",
            "shift(self.axes, strip.distance, cyclic)",
            "shift(self.axes, -strip.distance, cyclic)",
        ),
        ("what lies outside is not filled", "if (fill is None and not always) or", "if True or"),
        ("the shard itself is in what came before", '"LT" if before else "GT"', '"LE" if before else "GT"'),
        ("the last wanted element is dropped", "min(last + 1 - other * size, size)", "min(last - other * size, size)"),
        ("a mirror of groups is none", "zip(group, group[::-1], strict=True)", "zip(group, group, strict=True)"),
    ),
    *_of(
        "partition/collectives.py",
        _OPS,
        "partition",
        (
            "a shard's place on two axes",
            'index = self._binary("stablehlo.multiply", index, size, point, location)\n',
            'index = self._binary("stablehlo.add", index, size, point, location)\n',
        ),
        ("strides of minor axes are left out", "            stride *= size\n", "            stride += size\n"),
        (
            "an exchange swaps split and concatenation",
            '"split_dimension": i64_attr(target),\n            "concat_dimension": i64_attr(source),',
            '"split_dimension": i64_attr(source),\n            "concat_dimension": i64_attr(target),',
        ),
        (
            "a permutation goes backwards",
            "pairs += zip(moving, (t for t in targets if t not in stay), strict=True)",
            "pairs += [(t, s) for s, t in zip(moving, [t for t in targets if t not in stay], strict=True)]",
        ),
        (
            "prefixes of axes are longer than they are",
            "if x != y), min(len(a), len(b)))",
            "if x != y), max(len(a), len(b)))",
        ),
        (
            "a reshard gathers too little",
            "[a[len(k) :] for a, k in zip(source.dims, kept, strict=True)], point, location)",
            "[() for a, k in zip(source.dims, kept, strict=True)], point, location)",
        ),
    ),
]

COLLECTIVES = [
    *_of(
        "partition/merge_collectives.py",
        "partition/merge_collectives.mlir partition/test_merge_collectives.py",
        "",
        (
            "all_gathers merge the wrong way round",
            '"all_gather_dim", lambda first, second: (second, first)',
            '"all_gather_dim", lambda first, second: (first, second)',
        ),
        (
            "different reducers merge",
            "return kind is not None and kind == combiner(first) and self._may_reorder(kind, second)",
            "return kind is not None and self._may_reorder(kind, second)",
        ),
        ("a value read twice is merged away", "or not is_used_once(first):", "or False:"),
        ("overlapping groups merge", "        if len(set(row)) < len(row):\n            return None\n", ""),
    ),
    *_of(
        "partition/combine_collectives.py",
        "partition/combine_collectives.mlir partition/test_combine_collectives.py",
        "",
        (
            "groups do not matter",
            "return op.name, after, group_key(op), element, combiner(op) or op",
            "return op.name, after, element, combiner(op) or op",
        ),
        (
            "reducers do not matter",
            "return op.name, after, group_key(op), element, combiner(op) or op",
            "return op.name, after, group_key(op), element",
        ),
        (
            "what is used in regions is not needed",
            "            for view in block:\n                yield from _used(view.operation)",
            "            for view in ():\n                yield from _used(view.operation)",
        ),
        ("the limit of bytes is not kept", "if not bucket or filled + size > limit:", "if not bucket:"),
    ),
    *_of(
        "partition/delay_reductions.py",
        "partition/delay_reductions.mlir partition/test_delay_reductions.py",
        "",
        ("a difference becomes a sum", 'return _make(op, "stablehlo.negate", [right])', "return right"),
        ("integer quotients are linear", "if divides and isinstance(", "if False and isinstance("),
        (
            "a product of two sums is linear",
            "return name not in _PRODUCTS or _factor(op) == 1 - number",
            "return True",
        ),
        ("maxima are delayed", 'if not is_plain(op) or combiner(op) != "stablehlo.add":', "if not is_plain(op):"),
    ),
    *_of(
        "partition/cancel_moves.py",
        "partition/cancel_moves.mlir partition/test_cancel_moves.py",
        "",
        (
            "a part of another place is the own one",
            "return cut[0] if (starts[groups] == own).all() else None",
            "return cut[0]",
        ),
        (
            "a part of what differs between devices is gathered",
            "if source.type != op.results[0].type or not self._is_uniform(source, op):",
            "if source.type != op.results[0].type:",
        ),
        (
            "a scatter along one dimension gathered along another",
            'and integer(gather, "all_gather_dim") == integer(scatter, "scatter_dimension")',
            "and True",
        ),
    ),
    *_of(
        "partition/hoist_gathers.py",
        "partition/hoist_gathers.mlir partition/test_hoist_gathers.py",
        "",
        ("what a loop changes is hoisted", "if yielded[i] == a}", "if True}"),
        ("what the loop uses besides is erased", "if is_gathered or not needed:", "if True:"),
    ),
    *_of(
        "partition/groups.py",
        "partition/merge_collectives.mlir partition/combine_collectives.mlir partition/delay_reductions.mlir "
        "partition/test_merge_collectives.py partition/test_combine_collectives.py",
        "",
        (
            "a reducer of its first argument twice is plain",
            "plain = list(only.operands) == list(block.arguments) and not len(only.attributes)",
            "plain = not len(only.attributes)",
        ),
    ),
]

MOE = [
    *_of(
        "moe/decompose.py",
        "moe/test_ops.py moe/test_expert_parallel.py moe/test_layers.py",
        "",
        (
            "padding names the first expert",
            'low = w.compare("GE", indices, w.full(indices.shape, "i32", 0))',
            'low = w.compare("GE", indices, w.full(indices.shape, "i32", -1))',
        ),
        ("all experts are here", 'return w.convert(w.any(owned, 1), "i32")', 'return w.convert(w.any(here, 1), "i32")'),
        (
            "a dispatch repeats too few",
            "    if count == 1:\n        return x\n",
            "    if count >= 1:\n        return x\n",
        ),
        (
            "a combine of other groups is not summed",
            "slots = w.all_reduce(slots, place.other_groups) if place.other_groups else slots",
            "slots = slots",
        ),
        (
            "experts count from one",
            'row = w.look_up(w.binary("subtract", count, w.full((experts,), "i32", 1)), indices)',
            "row = w.look_up(count, indices)",
        ),
    ),
    *_of(
        "moe/ops.py",
        "moe/test_ops.py",
        "",
        ("columns need not be rows", 'return "" if a[3] == b[2] else', 'return "" if True else'),
        (
            "a combine divides the wrong dimension",
            "    shape[dim] //= ring\n    return tuple(shape)",
            "    shape[1] //= ring\n    return tuple(shape)",
        ),
        ("any number of experts is selected", 'return "" if chosen <= experts else', 'return "" if True else'),
    ),
    *_of(
        "moe/split_experts.py",
        "moe/test_expert_parallel.py",
        "",
        (
            "the experts of products are not split where a is sparse",
            'expert = 1 if call["is_input_a_sparse"] else 3',
            "expert = 1",
        ),
        (
            "products inside a manual computation are split again",
            'if parent.operation.name == "sdy.manual_computation":',
            "if False:",
        ),
    ),
    *_of(
        "moe/team.py",
        "moe/test_expert_parallel.py",
        "",
        (
            "the ring's axis is counted from the end",
            "return [name for name, _ in self.mesh.axes].index(self.ring)",
            "return len(self.mesh.axes) - 1 - [name for name, _ in self.mesh.axes].index(self.ring)",
        ),
    ),
    *_of(
        "moe/unselected.py",
        "moe/test_unselected.py",
        "",
        ("what is added to zero is zero", "    return all(zeros)", "    return any(zeros)"),
        (
            "a select of anything else than zero is zero",
            "    return zeros[2] and (zeros[0] or zeros[1])",
            "    return zeros[2]",
        ),
        (
            "a dot with a zero of other tokens will do",
            'return {"e", *self.tokens} <= same',
            "return True",
        ),
        (
            "what was not zero goes out as well",
            "elif value in self.zero or self._is_met_by_zero(user, number, roles):",
            "elif True:",
        ),
    ),
    *_of(
        "moe/grouped.py",
        "moe/test_grouped.py",
        "",
        (
            "a mask may differ along what is contracted",
            ' and is_same_along(group, roles.index("k")):',
            ":",
        ),
    ),
]

MUTATIONS = {"optimize": OPTIMIZE, "sharding": SHARDING, "partition": PARTITION, "collectives": COLLECTIVES, "moe": MOE}
