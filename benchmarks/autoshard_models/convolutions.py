"""Convolutional networks: a wide ResNet (bottlenecks, as in Alpa's suite) and the U-Net of a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import export
import jax
import jax.numpy as jnp
import numpy as np
from parts import Params, cross_entropy, shape, squared_error, train_step


@dataclass(frozen=True)
class WideResNet:
    """Groups of bottleneck blocks; channels double from group to group, the inner ones are ``width`` times wider."""

    blocks: tuple[int, ...]
    channels: int
    width: int
    image: int
    classes: int
    examples: int
    dtype: str = "bfloat16"


@dataclass(frozen=True)
class UNet:
    """Levels of residual blocks, halving the image from one to the next; attention at the lowest."""

    channels: tuple[int, ...]
    blocks: int
    image: int
    heads: int
    time: int
    examples: int
    dtype: str = "bfloat16"


def kernel(side: int, inside: int, outside: int, dtype: str) -> Any:
    return shape(side, side, inside, outside, dtype=dtype)


def convolve(w: jax.Array, x: jax.Array, stride: int = 1) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def batch_norm(p: Params, x: jax.Array) -> jax.Array:
    """By the statistics of the whole batch."""
    wide = x.astype(jnp.float32)
    mean = jnp.mean(wide, axis=(0, 1, 2))
    variance = jnp.mean(wide * wide, axis=(0, 1, 2)) - mean * mean
    return ((wide - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(x.dtype) * p["scale"] + p["offset"]


def group_norm(p: Params, x: jax.Array, groups: int = 8) -> jax.Array:
    batch, height, width, channels = x.shape
    wide = x.astype(jnp.float32).reshape(batch, height * width, groups, channels // groups)
    wide = wide - jnp.mean(wide, axis=(1, 3), keepdims=True)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=(1, 3), keepdims=True) + 1e-5)
    return wide.reshape(x.shape).astype(x.dtype) * p["scale"] + p["offset"]


def norm_shapes(channels: int, dtype: str) -> Params:
    return {"scale": shape(channels, dtype=dtype), "offset": shape(channels, dtype=dtype)}


# -- wide ResNet -------------------------------------------------------------------------------------------------------


def bottleneck_shapes(c: WideResNet, inside: int, channels: int) -> Params:
    inner, outside = channels * c.width, channels * 4
    found = {
        "in": kernel(1, inside, inner, c.dtype), "in_norm": norm_shapes(inner, c.dtype),
        "middle": kernel(3, inner, inner, c.dtype), "middle_norm": norm_shapes(inner, c.dtype),
        "out": kernel(1, inner, outside, c.dtype), "out_norm": norm_shapes(outside, c.dtype),
    }
    if inside != outside:
        found |= {"shortcut": kernel(1, inside, outside, c.dtype), "shortcut_norm": norm_shapes(outside, c.dtype)}
    return found


def bottleneck(p: Params, x: jax.Array, stride: int) -> jax.Array:
    y = jax.nn.relu(batch_norm(p["in_norm"], convolve(p["in"], x)))
    y = jax.nn.relu(batch_norm(p["middle_norm"], convolve(p["middle"], y, stride)))
    y = batch_norm(p["out_norm"], convolve(p["out"], y))
    if "shortcut" in p:
        x = batch_norm(p["shortcut_norm"], convolve(p["shortcut"], x, stride))
    return jax.nn.relu(x + y)


def wide_resnet(c: WideResNet, devices: int) -> export.Program:
    """The train step of a wide ResNet."""
    groups, inside = [], c.channels
    for group, blocks in enumerate(c.blocks):
        channels = c.channels * 2**group
        groups.append([bottleneck_shapes(c, inside if i == 0 else channels * 4, channels) for i in range(blocks)])
        inside = channels * 4

    def loss(params: Params, images: jax.Array, labels: jax.Array) -> jax.Array:
        x = jax.nn.relu(batch_norm(params["stem_norm"], convolve(params["stem"], images, 2)))
        x = jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        for group, blocks in enumerate(params["groups"]):
            for i, p in enumerate(blocks):
                x = bottleneck(p, x, 2 if group and not i else 1)
        return cross_entropy(jnp.mean(x, axis=(1, 2)) @ params["head"], labels)

    batch = c.examples * devices
    params = {
        "stem": kernel(7, 3, c.channels, c.dtype), "stem_norm": norm_shapes(c.channels, c.dtype), "groups": groups,
        "head": shape(inside, c.classes, dtype=c.dtype),
    }
    images = shape(batch, c.image, c.image, 3, dtype=c.dtype)
    return train_step(loss, params, ("images", images), ("labels", shape(batch, dtype="int32")))


# -- U-Net -------------------------------------------------------------------------------------------------------------


def block_shapes(c: UNet, inside: int, outside: int) -> Params:
    found = {
        "in_norm": norm_shapes(inside, c.dtype), "in": kernel(3, inside, outside, c.dtype),
        "time": shape(c.time, outside, dtype=c.dtype),
        "out_norm": norm_shapes(outside, c.dtype), "out": kernel(3, outside, outside, c.dtype),
    }
    return found if inside == outside else {**found, "shortcut": kernel(1, inside, outside, c.dtype)}


def block(p: Params, x: jax.Array, time: jax.Array) -> jax.Array:
    y = convolve(p["in"], jax.nn.silu(group_norm(p["in_norm"], x)))
    y = y + (time @ p["time"])[:, None, None, :]
    y = convolve(p["out"], jax.nn.silu(group_norm(p["out_norm"], y)))
    return y + (convolve(p["shortcut"], x) if "shortcut" in p else x)


def attention_shapes(c: UNet, channels: int) -> Params:
    square = shape(channels, channels, dtype=c.dtype)
    return {"norm": norm_shapes(channels, c.dtype), "wq": square, "wk": square, "wv": square, "wo": square}


def attention(c: UNet, p: Params, x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    flat = group_norm(p["norm"], x).reshape(batch, height * width, channels)
    q, k, v = ((flat @ p[n]).reshape(batch, height * width, c.heads, channels // c.heads) for n in ("wq", "wk", "wv"))
    scores = jnp.einsum("bsnd,btnd->bnst", q, k).astype(jnp.float32) * (channels // c.heads) ** -0.5
    out = jnp.einsum("bnst,btnd->bsnd", jax.nn.softmax(scores, axis=-1).astype(x.dtype), v)
    return x + (out.reshape(flat.shape) @ p["wo"]).reshape(x.shape)


def doubled(x: jax.Array) -> jax.Array:
    """An image of twice the size, each pixel four times."""
    batch, height, width, channels = x.shape
    wide = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return wide.reshape(batch, 2 * height, 2 * width, channels)


def unet_shapes(c: UNet) -> Params:
    down, up, inside, last = [], [], c.channels[0], len(c.channels) - 1
    for level, channels in enumerate(c.channels):
        blocks = [block_shapes(c, inside if i == 0 else channels, channels) for i in range(c.blocks)]
        step = {"step": kernel(3, channels, channels, c.dtype)} if level < last else {}
        down.append({"blocks": blocks, **step})
        inside = channels
    for level in range(last, -1, -1):
        channels = c.channels[level]
        blocks = [block_shapes(c, (inside if i == 0 else channels) + channels, channels) for i in range(c.blocks)]
        step = {"step": kernel(3, channels, channels, c.dtype)} if level else {}
        up.append({"blocks": blocks, **step})
        inside = channels
    low = c.channels[-1]
    return {
        "time": {"up": shape(c.time, c.time, dtype=c.dtype), "down": shape(c.time, c.time, dtype=c.dtype)},
        "stem": kernel(3, 3, c.channels[0], c.dtype), "down": down,
        "middle": {
            "first": block_shapes(c, low, low), "last": block_shapes(c, low, low),
            "attention": attention_shapes(c, low),
        },
        "up": up, "norm": norm_shapes(c.channels[0], c.dtype), "last": kernel(3, c.channels[0], 3, c.dtype),
    }


def denoised(c: UNet, params: Params, x: jax.Array, time: jax.Array) -> jax.Array:
    time = jax.nn.silu(time @ params["time"]["up"]) @ params["time"]["down"]
    x, skips = convolve(params["stem"], x), []
    for level in params["down"]:
        for p in level["blocks"]:
            x = block(p, x, time)
            skips.append(x)
        x = convolve(level["step"], x, 2) if "step" in level else x
    middle = params["middle"]
    x = block(middle["last"], attention(c, middle["attention"], block(middle["first"], x, time)), time)
    for level in params["up"]:
        for p in level["blocks"]:
            x = block(p, jnp.concatenate([x, skips.pop()], axis=-1), time)
        x = convolve(level["step"], doubled(x)) if "step" in level else x
    return convolve(params["last"], jax.nn.silu(group_norm(params["norm"], x)))


def unet(c: UNet, devices: int) -> export.Program:
    """The train step of a U-Net that takes noise off images."""
    def loss(params: Params, images: jax.Array, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        return squared_error(denoised(c, params, images, inputs), targets)

    batch = c.examples * devices
    images = shape(batch, c.image, c.image, 3, dtype=c.dtype)
    time = shape(batch, c.time, dtype=c.dtype)
    return train_step(loss, unet_shapes(c), ("images", images), ("inputs", time), ("targets", images))
