"""What distinguishes the mixture-of-experts layers that people run, as data, and the published configurations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from passes.errors import UserError


@dataclass(frozen=True)
class Router:
    """How a token's logits become the numbers of its experts and their weights.

    Attributes:
      score: ``softmax`` over all experts; ``sigmoid`` of each; ``selected``: softmax over the selected logits only.
      normalized: The weights are divided by their sum.
      scale: They are multiplied by this.
      bias: A bias is added to the logits.
      correction: A bias is added to the scores for the selection, but not to the weights.
      groups: Experts form so many groups; those outside of the `kept_groups` best (by their two best) are left out.
      epsilon: What is added to the sum of weights before dividing.
    """

    score: Literal["softmax", "sigmoid", "selected"] = "softmax"
    normalized: bool = True
    scale: float = 1.0
    bias: bool = False
    correction: bool = False
    groups: int = 1
    kept_groups: int = 1
    epsilon: float = 0.0


@dataclass(frozen=True)
class Configuration:
    """One mixture-of-experts layer.

    Attributes:
      experts, chosen: E and K.
      hidden, intermediate: H and I of a routed expert.
      activation: ``silu``: silu(gate) * up; ``clamped``: GPT-OSS's (up + 1) * gate * sigmoid(1.702 gate) on clamped
        values.
      weights: How the experts' weights come: ``separate`` w1, w3 [E,H,I] and w2 [E,I,H]; ``interleaved`` gate_up
        [E,H,2I] with gate and up in turns, down [E,I,H]; ``stacked`` gate_up [E,2I,H], gate before up, down [E,H,I].
      biases: The experts' products have biases.
      shared: I of the shared expert that every token goes through; 0 if there is none.
      shared_gate: The shared expert is weighted by a sigmoid of its own.
      layers: How many layers the model has; `dense_layers`: how many of them, at the start, have no experts.
    """

    name: str
    experts: int
    chosen: int
    hidden: int
    intermediate: int
    router: Router = Router()
    activation: Literal["silu", "clamped"] = "silu"
    weights: Literal["separate", "interleaved", "stacked"] = "separate"
    biases: bool = False
    shared: int = 0
    shared_gate: bool = False
    layers: int = 1
    dense_layers: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.chosen <= self.experts:
            raise UserError(f"{self.name}: {self.chosen} of {self.experts} experts cannot be chosen")
        if self.experts % self.router.groups or not 0 < self.router.kept_groups <= self.router.groups:
            raise UserError(f"{self.name}: {self.experts} experts do not form {self.router.groups} groups of which "
                            f"{self.router.kept_groups} are kept")
        if self.chosen > self.router.kept_groups * self.experts // self.router.groups:
            raise UserError(f"{self.name}: {self.router.kept_groups} groups have fewer than {self.chosen} experts")

    def small(self, experts: int = 16, hidden: int = 8, intermediate: int = 12) -> Configuration:
        """The same kind of layer at a size for tests: all ways of computing stay, all numbers shrink."""
        groups = min(self.router.groups, 4)
        router = replace(self.router, groups=groups, kept_groups=min(self.router.kept_groups, max(1, groups // 2)))
        shared = intermediate if self.shared else 0
        chosen = min(self.chosen, 3)
        return replace(self, experts=experts, chosen=chosen, hidden=hidden, intermediate=intermediate, router=router,
                       shared=shared, layers=1, dense_layers=0)


_DEEPSEEK = Router("sigmoid", scale=2.5, correction=True, groups=8, kept_groups=4, epsilon=1e-20)

# By name; the sizes are the published ones.
CONFIGURATIONS = {
    c.name: c
    for c in (
        Configuration("gpt-oss-20b", 32, 4, 2880, 2880, Router("selected", normalized=False, bias=True), "clamped",
                      "interleaved", biases=True, layers=24),
        Configuration("gpt-oss-120b", 128, 4, 2880, 2880, Router("selected", normalized=False, bias=True), "clamped",
                      "interleaved", biases=True, layers=36),
        Configuration("glm-4.5", 160, 8, 5120, 1536, replace(_DEEPSEEK, groups=1, kept_groups=1), weights="stacked",
                      shared=1536, layers=92, dense_layers=3),
        Configuration("deepseek-v3", 256, 8, 7168, 2048, _DEEPSEEK, shared=2048, layers=61, dense_layers=3),
        Configuration("kimi-k2", 384, 8, 7168, 2048, replace(_DEEPSEEK, scale=2.827, groups=1, kept_groups=1),
                      shared=2048, layers=61, dense_layers=1),
        Configuration("mixtral-8x7b", 8, 2, 4096, 14336, layers=32),
        Configuration("qwen3-30b-a3b", 128, 8, 2048, 768, layers=48),
        Configuration("qwen2-57b-a14b", 64, 8, 3584, 2560, Router(normalized=False), shared=20480, shared_gate=True,
                      layers=28),
        Configuration("olmoe-1b-7b", 64, 8, 2048, 1024, Router(normalized=False), layers=16),
    )
}
