"""`python -m tests.autodiff FRAMEWORK FOLDER`: the table's layers as a framework computes them.

Reads FOLDER/cases, writes FOLDER/FRAMEWORK: of each case its value and the gradients by x and each
trained tensor, and what a training pass makes of the running ones. float64. The layers are the
frameworks' own functions where they have one; batch norm in JAX is by its formula.
"""

from __future__ import annotations

import math
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np

from harness.interface import State
from harness.workloads.reference import pieces as p
from tests.layers import Alone


def sums(layer: p.Polynomial, x: Any) -> list[Any]:
    """Of each output its terms added up, in whichever framework x is."""
    inputs = range(x.shape[1])
    return [
        sum(factor * math.prod(x[:, i] ** power[i] for i in inputs) for factor, power in terms)
        for terms in layer.sums
    ]


def by_torch(one: Alone, weights: Any, training: bool) -> State:
    import torch
    from torch.nn import functional as F

    trained = {s.tensor.name for s in one.layer.slots("", "") if s.tensor.role == "trained"}
    at = {k: torch.tensor(v, requires_grad=k in trained) for k, v in one.state.items()}
    x = torch.tensor(one.x, requires_grad=True)

    def image(of: Any, function: Any) -> Any:
        return function(of.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def value(layer: Any, x: Any) -> Any:
        match layer:
            case p.Dense():
                z = F.linear(x, at[layer.weight].T)
                return z + at[layer.bias] if layer.bias else z
            case p.Variable():
                return at[layer.name].expand(len(x), -1)
            case p.Polynomial():
                return torch.stack(sums(layer, x), 1)
            case p.Conv():
                kernel, bias = at[layer.kernel].permute(3, 2, 0, 1), at.get(layer.bias)
                return image(x, lambda x: F.conv2d(x, kernel, bias, layer.stride, layer.pad))
            case p.Bias():
                return x + at[layer.name]
            case p.Enlarge():
                return image(x, lambda x: F.interpolate(x, scale_factor=layer.times))
            case p.Relu():
                return F.relu(x)
            case p.Sigmoid():
                return torch.sigmoid(x)
            case p.Tanh():
                return torch.tanh(x)
            case p.Softmax():
                return F.softmax(x, dim=-1)
            case p.MaxPool():
                way = (layer.size, layer.stride or layer.size, layer.pad)
                return image(x, lambda x: F.max_pool2d(x, *way))
            case p.AveragePool():
                way = (layer.size, layer.stride or layer.size, layer.pad)
                counted = layer.counted
                return image(x, lambda x: F.avg_pool2d(x, *way, count_include_pad=counted))
            case p.Flatten():
                return x.flatten(1)
            case p.BatchNorm():
                names = (layer.mean, layer.variance, layer.gamma, layer.beta)
                norm = lambda x: F.batch_norm(  # noqa: E731
                    x, *[at[k] for k in names], training, 1 - layer.momentum, layer.eps
                )
                return norm(x) if x.ndim == 2 else image(x, norm)
            case p.Dropout():
                kept = torch.tensor(one.noise[layer.name]) >= layer.p
                return x * kept / (1 - layer.p) if training else x
            case p.Residual():
                branch, shortcut = x, x
                for inner in layer.branch:
                    branch = value(inner, branch)
                for inner in layer.shortcut:
                    shortcut = value(inner, shortcut)
                return branch + shortcut
        raise TypeError(layer)

    made = value(one.layer, x)
    (made * torch.tensor(weights)).sum().backward()
    none = torch.zeros_like(x)
    found = {
        "value": made,
        "x": none if x.grad is None else x.grad,
        **{k: at[k].grad for k in trained},
    }
    if training:
        found |= {k: v for k, v in at.items() if k not in trained}
    return {k: v.detach().numpy() for k, v in found.items()}


def by_jax(one: Alone, weights: Any, training: bool) -> State:
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", True)
    trained = {s.tensor.name for s in one.layer.slots("", "") if s.tensor.role == "trained"}

    def pooled(layer: Any, x: Any, start: float, add: Any) -> Any:
        stride, pad = layer.stride or layer.size, (layer.pad, layer.pad)
        size = (1, layer.size, layer.size, 1)
        around = ((0, 0), pad, pad, (0, 0))
        return lax.reduce_window(x, start, add, size, (1, stride, stride, 1), around)

    def value(layer: Any, x: Any, at: Any, after: Any) -> Any:
        match layer:
            case p.Dense():
                return x @ at[layer.weight] + at.get(layer.bias, 0.0)
            case p.Variable():
                return jnp.tile(at[layer.name], (len(x), 1))
            case p.Polynomial():
                return jnp.stack(sums(layer, x), 1)
            case p.Conv():
                pads, strides = [(layer.pad, layer.pad)] * 2, (layer.stride,) * 2
                names = ("NHWC", "HWIO", "NHWC")
                z = lax.conv_general_dilated(
                    x, at[layer.kernel], strides, pads, dimension_numbers=names
                )
                return z + at.get(layer.bias, 0.0)
            case p.Bias():
                return x + at[layer.name]
            case p.Enlarge():
                times = layer.times
                wide = (x.shape[0], x.shape[1] * times, x.shape[2] * times, x.shape[3])
                return jax.image.resize(x, wide, "nearest")
            case p.Relu():
                return jax.nn.relu(x)
            case p.Sigmoid():
                return jax.nn.sigmoid(x)
            case p.Tanh():
                return jnp.tanh(x)
            case p.Softmax():
                return jax.nn.softmax(x, axis=-1)
            case p.MaxPool():
                return pooled(layer, x, -jnp.inf, lax.max)
            case p.AveragePool():
                ones = jnp.full_like(x, 1.0)
                count = layer.size**2 if layer.counted else pooled(layer, ones, 0.0, lax.add)
                return pooled(layer, x, 0.0, lax.add) / count
            case p.Flatten():
                return x.reshape(len(x), -1)
            case p.BatchNorm():
                over, n = tuple(range(x.ndim - 1)), x.size // layer.units
                mean, variance = at[layer.mean], at[layer.variance]
                if training:
                    mean, variance = x.mean(over), x.var(over)
                    new = {layer.mean: mean, layer.variance: x.var(over, ddof=1)}
                    assert n > 1
                    for k, v in new.items():
                        after[k] = layer.momentum * at[k] + (1 - layer.momentum) * v
                scaled = (x - mean) * lax.rsqrt(variance + layer.eps)
                return scaled * at[layer.gamma] + at[layer.beta]
            case p.Dropout():
                kept = one.noise[layer.name] >= layer.p
                return jnp.where(kept, x / (1 - layer.p), 0.0) if training else x
            case p.Residual():
                branch, shortcut = x, x
                for inner in layer.branch:
                    branch = value(inner, branch, at, after)
                for inner in layer.shortcut:
                    shortcut = value(inner, shortcut, at, after)
                return branch + shortcut
        raise TypeError(layer)

    def total(x: Any, at: Any) -> Any:
        after: State = {}
        made = value(one.layer, x, at, after)
        return (made * weights).sum(), (made, after)

    at = {k: jnp.asarray(v) for k, v in one.state.items()}
    (d, grads), (made, after) = jax.grad(total, argnums=(0, 1), has_aux=True)(
        jnp.asarray(one.x), at
    )
    found = {"value": made, "x": d, **after, **{k: grads[k] for k in trained}}
    return {k: np.asarray(v) for k, v in found.items()}


def by_tensorflow(one: Alone, weights: Any, training: bool) -> State:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tensorflow as tf

    trained = {s.tensor.name for s in one.layer.slots("", "") if s.tensor.role == "trained"}
    at = {k: tf.Variable(v) for k, v in one.state.items()}
    x = tf.Variable(one.x)
    after: dict[str, Any] = {}

    def padded(layer: Any, x: Any) -> Any:
        return tf.pad(x, [[0, 0], [layer.pad] * 2, [layer.pad] * 2, [0, 0]])

    def mean(layer: Any, x: Any) -> Any:
        return tf.nn.avg_pool2d(padded(layer, x), layer.size, layer.stride or layer.size, "VALID")

    def value(layer: Any, x: Any) -> Any:
        match layer:
            case p.Dense():
                z = x @ at[layer.weight]
                return z + at[layer.bias] if layer.bias else z
            case p.Variable():
                return tf.tile(at[layer.name][None], (len(x), 1))
            case p.Polynomial():
                return tf.stack(sums(layer, x), 1)
            case p.Conv():
                around = [[0, 0], [layer.pad] * 2, [layer.pad] * 2, [0, 0]]
                z = tf.nn.conv2d(x, at[layer.kernel], layer.stride, around)
                return z + at[layer.bias] if layer.bias else z
            case p.Bias():
                return x + at[layer.name]
            case p.Enlarge():
                return tf.repeat(tf.repeat(x, layer.times, 1), layer.times, 2)
            case p.Relu():
                return tf.nn.relu(x)
            case p.Sigmoid():
                return tf.sigmoid(x)
            case p.Tanh():
                return tf.tanh(x)
            case p.Softmax():
                return tf.nn.softmax(x)
            case p.MaxPool():
                around = [[0, 0], [layer.pad] * 2, [layer.pad] * 2, [0, 0]]
                return tf.nn.max_pool2d(x, layer.size, layer.stride or layer.size, around)
            case p.AveragePool():
                whole = mean(layer, x)
                return whole if layer.counted else whole / mean(layer, tf.ones_like(x))
            case p.Flatten():
                return tf.reshape(x, (len(x), -1))
            case p.BatchNorm():
                moments = (at[layer.mean], at[layer.variance])
                if training:
                    moments = tf.nn.moments(x, list(range(x.ndim - 1)))
                    n = int(np.prod(x.shape)) // layer.units
                    new = (moments[0], moments[1] * n / (n - 1))
                    for k, v in zip((layer.mean, layer.variance), new, strict=True):
                        after[k] = layer.momentum * at[k] + (1 - layer.momentum) * v
                scale, offset = at[layer.gamma], at[layer.beta]
                return tf.nn.batch_normalization(x, *moments, offset, scale, layer.eps)
            case p.Dropout():
                kept = tf.constant(one.noise[layer.name] >= layer.p)
                return tf.where(kept, x / (1 - layer.p), tf.zeros_like(x)) if training else x
            case p.Residual():
                branch, shortcut = tf.identity(x), tf.identity(x)
                for inner in layer.branch:
                    branch = value(inner, branch)
                for inner in layer.shortcut:
                    shortcut = value(inner, shortcut)
                return branch + shortcut
        raise TypeError(layer)

    with tf.GradientTape() as tape:
        made = value(one.layer, tf.identity(x))
        total = tf.reduce_sum(made * weights)
    wanted = {"x": x, **{k: at[k] for k in trained}}
    grads = tape.gradient(total, wanted, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return {k: v.numpy() for k, v in {"value": made, **grads, **after}.items()}


if __name__ == "__main__":
    framework, folder = sys.argv[1], Path(sys.argv[2])
    compute = {"torch": by_torch, "jax": by_jax, "tensorflow": by_tensorflow}[framework]
    cases = pickle.loads((folder / "cases").read_bytes())
    found = {name: compute(*one, mode) for name, (one, mode) in cases.items()}
    (folder / framework).write_bytes(pickle.dumps(found))
