"""What may be merged and what may go, by short lists of what may not."""

from __future__ import annotations

from leftover.mirror import Mirror, Op

_PURE_DIALECTS = frozenset({"stablehlo", "chlo", "mhlo"})
_TERMINATORS = frozenset({"stablehlo.return", "func.return", "sdy.return", "mhlo.return"})
_ORDERED = frozenset(f"stablehlo.{name}" for name in (
    "infeed", "outfeed", "send", "recv", "after_all", "create_token", "async_start", "async_done"))
# Each of these is one of its kind, though an unused one may go.
_UNIQUE = frozenset({"stablehlo.rng", "stablehlo.optimization_barrier"})
_CALLS = frozenset({"func.call", "stablehlo.composite"})


class Effects:
    """The effects of the ops of one module, calls included."""

    def __init__(self, program: Mirror) -> None:
        self._functions = program.functions
        self._known: dict[str, tuple[bool, bool]] = {}

    def mergeable(self, op: Op) -> bool:
        """Whether ``op`` computes nothing but its results, the same each time."""
        return self._judge(op)[0]

    def removable(self, op: Op) -> bool:
        """Whether ``op`` may go if its results are unused."""
        return self._judge(op)[1]

    def _judge(self, op: Op) -> tuple[bool, bool]:
        own = self._own(op)
        if not op.regions or not own[1]:
            return own
        inner = [self._judge(i) for region in op.regions for block in region for i in block.ops
                 if i.name not in _TERMINATORS]
        return own[0] and all(i[0] for i in inner), all(i[1] for i in inner)

    def _own(self, op: Op) -> tuple[bool, bool]:
        name = op.name
        if name in _TERMINATORS or name in _ORDERED:
            return False, False
        if name in _UNIQUE:
            return False, True
        if name in _CALLS:
            attribute = "callee" if name == "func.call" else "decomposition"
            return self._function(op.attribute(attribute).value)
        if name == "stablehlo.custom_call":
            return self._custom_call(op)
        pure = name.partition(".")[0] in _PURE_DIALECTS
        return pure, pure

    def _custom_call(self, op: Op) -> tuple[bool, bool]:
        effect = op.attribute("has_side_effect")
        target = op.attribute("call_target_name").value
        if (effect is not None and effect.value) or "called_computations" in op.handle.attributes:
            return False, False
        return target != "Sharding", "callback" not in target and target != "Sharding"

    def _function(self, name: str) -> tuple[bool, bool]:
        if name not in self._known:
            self._known[name] = (False, False)  # What recursion finds.
            function = self._functions.get(name)
            if function is not None and function.regions[0]:
                judged = [self._judge(op) for op in function.regions[0][0].ops if op.name not in _TERMINATORS]
                self._known[name] = all(j[0] for j in judged), all(j[1] for j in judged)
        return self._known[name]
