"""A graph network that simulates particles (GNS, Sanchez-Gonzalez et al., 2020): rounds of messages along edges."""

from __future__ import annotations

from dataclasses import dataclass

import export
import jax
import jax.numpy as jnp
from parts import Params, layer_norm, shape, squared_error, stacked, train_step


@dataclass(frozen=True)
class GraphNetwork:
    """Encoder, ``rounds`` of messages, decoder; functions are MLPs of one hidden layer, normed but for the last."""

    nodes: int
    edges: int
    features: int
    latent: int
    hidden: int
    rounds: int
    dtype: str = "float32"


def mlp_shapes(c: GraphNetwork, inside: int, outside: int, norm: bool = True) -> Params:
    scale = shape(outside, dtype=c.dtype)
    return {
        "up": shape(inside, c.hidden, dtype=c.dtype), "down": shape(c.hidden, outside, dtype=c.dtype),
        **({"norm": {"scale": scale, "offset": scale}} if norm else {}),
    }


def mlp(p: Params, x: jax.Array) -> jax.Array:
    y = jax.nn.relu(x @ p["up"]) @ p["down"]
    return layer_norm(p["norm"], y) if "norm" in p else y


def graph_network(c: GraphNetwork, devices: int) -> export.Program:
    """The train step on one graph, whatever the number of devices."""
    one = {"edge": mlp_shapes(c, 3 * c.latent, c.latent), "node": mlp_shapes(c, 2 * c.latent, c.latent)}
    params = {
        "node_encoder": mlp_shapes(c, c.features, c.latent), "edge_encoder": mlp_shapes(c, c.features, c.latent),
        "rounds": stacked(one, c.rounds), "decoder": mlp_shapes(c, c.latent, c.features, norm=False),
    }

    def loss(
        params: Params, nodes: jax.Array, edges: jax.Array, senders: jax.Array, receivers: jax.Array, targets: jax.Array
    ) -> jax.Array:
        def messages(state: tuple[jax.Array, jax.Array], p: Params) -> tuple[tuple[jax.Array, jax.Array], None]:
            nodes, edges = state
            seen = jnp.concatenate([edges, nodes[senders], nodes[receivers]], axis=-1)
            edges = edges + mlp(p["edge"], seen)
            sums = jax.ops.segment_sum(edges, receivers, num_segments=c.nodes)
            nodes = nodes + mlp(p["node"], jnp.concatenate([nodes, sums], axis=-1))
            return (nodes, edges), None

        state = mlp(params["node_encoder"], nodes), mlp(params["edge_encoder"], edges)
        nodes, _ = jax.lax.scan(jax.checkpoint(messages), state, params["rounds"])[0]
        return squared_error(mlp(params["decoder"], nodes), targets)

    nodes, edges = shape(c.nodes, c.features, dtype=c.dtype), shape(c.edges, c.features, dtype=c.dtype)
    ends = shape(c.edges, dtype="int32")
    return train_step(loss, params, ("nodes", nodes), ("edges", edges), ("senders", ends), ("receivers", ends),
                      ("targets", nodes))
