"""ResNet-50 as dm-haiku ships it (`hk.nets.ResNet50`): inference and train step.

    python generate.py                        rewrites forward.mlir and train_step.mlir beside this file
    python generate.py --size full -o DIR     writes them for 224x224 images in batches of 256
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import export
import optimizer


@dataclass(frozen=True)
class Config:
    batch: int
    image: int
    classes: int
    train_blocks: tuple[int, int, int, int]


# The weights are arguments and take no space in the text, so inference at the small size is the whole network on small
# images. The text of the train step grows with every block: the small size trains one block per group.
SIZES = {
    "small": Config(batch=8, image=64, classes=1000, train_blocks=(1, 1, 1, 1)),
    "full": Config(batch=256, image=224, classes=1000, train_blocks=(3, 4, 6, 3)),
}


def network(blocks: tuple[int, int, int, int], c: Config) -> tuple[hk.TransformedWithState, Any, Any]:
    """ResNet-50 with this many bottleneck blocks per group, and the shapes of its parameters and its state."""
    # hk.nets.ResNet50 takes its number of blocks from its configuration, everything else stays as published.
    configuration = {**hk.nets.ResNet.CONFIGS[50], "blocks_per_group": blocks}

    def apply(images: jax.Array, is_training: bool) -> jax.Array:
        return hk.nets.ResNet(num_classes=c.classes, name="resnet50", **configuration)(images, is_training=is_training)

    transformed = hk.transform_with_state(apply)
    images = export.shape(c.batch, c.image, c.image, 3)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, state = jax.eval_shape(lambda key, x: transformed.init(key, x, is_training=True), key, images)
    return transformed, params, state


def programs(c: Config) -> dict[str, export.Program]:
    whole, params, state = network((3, 4, 6, 3), c)
    trained, train_params, train_state = network(c.train_blocks, c)

    def forward(params: Any, state: Any, images: jax.Array) -> jax.Array:
        logits, _ = whole.apply(params, state, None, images, is_training=False)
        return logits

    def train_step(params: Any, state: Any, images: jax.Array, labels: jax.Array) -> dict[str, Any]:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            logits, new_state = trained.apply(params, state, None, images, is_training=True)
            one_hot = jax.nn.one_hot(labels, c.classes)
            return -jnp.mean(jnp.sum(one_hot * jax.nn.log_softmax(logits), axis=-1)), new_state

        (value, new_state), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return {"loss": value, "params": optimizer.sgd(params, gradients), "state": new_state}

    images = export.shape(c.batch, c.image, c.image, 3)
    labels = export.shape(c.batch, dtype="int32")
    return {
        "forward": export.Program(forward, (params, state, images)),
        "train_step": export.Program(
            train_step, (train_params, train_state, images, labels), donate=("params", "state")
        ),
    }


if __name__ == "__main__":
    export.main(__file__, SIZES, programs)
