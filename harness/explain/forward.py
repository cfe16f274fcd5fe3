"""Other conventions on the way forward, by layer; of batch norm and dropout see `modes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from harness.explain.hypothesis import Hypothesis
from harness.explain.layers import Variant, Variants, only, row
from harness.explain.seen import Seen
from harness.explain.way import Value, plainly, with_tensor
from harness.interface import Array
from harness.workloads.reference.base import Keep, Pass, Piece
from harness.workloads.reference.noise import ROUNDINGS, with_fewer_bits
from harness.workloads.reference.pieces import (
    AveragePool,
    Bias,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)

# -- bias, layout, padding -----------------------------------------------------------------------


def _biased(layer: Piece) -> bool:
    return isinstance(layer, Bias) or (isinstance(layer, Dense | Conv) and bool(layer.bias))


def _no_bias(layer: Piece, x: Array, at: Pass, _: float) -> Array:
    return x if isinstance(layer, Bias) else plainly(layer, x, at, bias="")


def _bias_twice(layer: Dense | Conv | Bias, x: Array, at: Pass, _: float) -> Array:
    name = layer.name if isinstance(layer, Bias) else layer.bias
    return np.asarray(plainly(layer, x, at) + at.state[name])


def _bias_of(name: str, layer: Dense | Conv, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x, with_tensor(at, **{layer.bias: at.state[name]}))


def _other_biases(layer: Piece, seen: Seen) -> Iterator[Variant]:
    """The biases of other layers that have its shape."""
    if not isinstance(layer, Dense | Conv) or not layer.bias:
        return
    own = seen.state[layer.bias]
    for tensor in seen.wanted.workload.trained:
        if tensor.name != layer.bias and tensor.shape == own.shape:
            yield f": {tensor.name}", partial(_bias_of, tensor.name)


def _turned(layer: Dense | Conv, x: Array, at: Pass, _: float) -> Array:
    """The weight read column by column; a kernel's rows and columns exchanged."""
    if isinstance(layer, Conv):
        kernel = at.state[layer.kernel].swapaxes(0, 1)
        return plainly(layer, x, with_tensor(at, **{layer.kernel: kernel}))
    weight = at.state[layer.weight]
    return plainly(layer, x, with_tensor(at, **{layer.weight: weight.T.reshape(weight.shape)}))


def _flipped(layer: Conv, x: Array, at: Pass, _: float) -> Array:
    kernel = at.state[layer.kernel][::-1, ::-1]
    return plainly(layer, x, with_tensor(at, **{layer.kernel: kernel}))


def _channels_first(layer: Flatten, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x.transpose(0, 3, 1, 2), at)


def _columns_first(layer: Flatten, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x.swapaxes(1, 2), at)


def _paddings(layer: Piece, seen: Seen) -> Iterator[Variant]:  # noqa: ARG001
    """As much padding in all, more of it on one side."""
    if isinstance(layer, Conv | MaxPool | AveragePool):
        for before in range(2 * layer.pad, -1, -1):
            if before != layer.pad:
                yield f": {before} before, {2 * layer.pad - before} after", _padded(before)


def _padded(before: int) -> Value:
    def value(layer: Conv | MaxPool | AveragePool, x: Array, at: Pass, _: float) -> Array:
        around = before, 2 * layer.pad - before
        fill = -np.inf if isinstance(layer, MaxPool) else 0.0

        def bare(image: Array) -> Array:
            wide = np.pad(image, ((0, 0), around, around, (0, 0)), constant_values=fill)
            return plainly(layer, wide, at, pad=0)

        if isinstance(layer, AveragePool) and not layer.counted:
            return np.asarray(bare(x) / bare(np.ones_like(x)))
        return bare(x)

    return value


def _counted(layer: AveragePool, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x, at, counted=not layer.counted)


# -- activations ---------------------------------------------------------------------------------


def _function(function: Callable[[Array], Array]) -> Value:
    return lambda _, x, at, t: np.asarray(function(x))  # noqa: ARG005


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _softmax(x: Array, axis: int = -1) -> Array:
    exp = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(exp / exp.sum(axis=axis, keepdims=True))


def _softplus_of_torch(x: Array) -> Array:
    return np.where(x > 20.0, x, np.logaddexp(0.0, x))


def _leaky(_: Relu, x: Array, at: Pass, slope: float) -> Array:  # noqa: ARG001
    return np.where(x > 0, x, slope * x)


def _on_outputs(function: Callable[[Array], Array]) -> Variants:
    """A function behind the last layer, where that has units."""

    def variants(layer: Piece, seen: Seen) -> Iterable[Variant]:
        if layer is not seen.judge.net.layers[-1] or not isinstance(layer, Dense):
            return []
        return [("", lambda one, x, at, _: function(plainly(one, x, at)))]

    return variants


# -- operands ------------------------------------------------------------------------------------

OPERANDS: dict[str, Callable[[Array], Array]] = {
    name: partial(with_fewer_bits, bits=bits, nearest=nearest)
    for name, (bits, nearest) in ROUNDINGS.items()
}
OPERANDS["float16"] = lambda a: a.astype(np.float16).astype(np.float64)


def _with_operands(operand: Callable[[Array], Array]) -> Variants:
    def value(layer: Piece, x: Array, at: Pass, _: float) -> Array:
        return layer.run(x, replace(at, times=lambda _, a, b: operand(a) @ operand(b)), Keep())

    return only((Dense, Conv), value)


def _rounded(name: str, by: str, where: str) -> Hypothesis:
    """Products whose operands are rounded."""
    kind, _, cut = name.partition(", ")
    there = f"{kind}(a) @ {kind}(b)" + (", bits cut off" if cut else "")
    return row(
        f"operands-{name.lower().replace(', ', '-')}",
        f"the operands of products are {'cut' if cut else 'rounded'} to {kind}",
        "a @ b", there, _with_operands(OPERANDS[name]), by=by, where=where,
    )  # fmt: skip


TABLE = (
    row(
        "bias-missing",
        "the bias is not added",
        "x W + b",
        "x W",
        lambda layer, _: [("", _no_bias)] if _biased(layer) else [],
    ),
    row(
        "bias-twice",
        "the bias is added twice",
        "x W + b",
        "x W + 2 b",
        lambda layer, _: [("", _bias_twice)] if _biased(layer) else [],
    ),
    row(
        "bias-of-another",
        "the bias is another layer's{of}",
        "x W + b",
        "x W + b'",
        _other_biases,
    ),
    row(
        "weight-transposed",
        "the weight is read transposed",
        "x W, height x width in a kernel",
        "x Wᵀ, width x height",
        only((Dense, Conv), _turned),
        by="torch holds nn.Linear's weight as outputs x inputs, a kernel as outputs x inputs x "
        "height x width; JAX, TensorFlow and Keras inputs x outputs",
        where="torch.nn.Linear, keras.layers.Dense: the documented shapes of the weights",
    ),
    row(
        "kernel-flipped",
        "the kernel is turned by half a turn, as in a true convolution",
        "sum of x[i + k] K[k]",
        "sum of x[i - k] K[k]",
        only(Conv, _flipped),
        by="scipy.signal.convolve; every framework's layer correlates",
        where='torch.nn.Conv2d: "the valid cross-correlation operator"',
    ),
    row(
        "flatten-channels-first",
        "an image is flattened channels first",
        "rows, columns, channels",
        "channels, rows, columns",
        only(Flatten, _channels_first),
        by="torch (images are n x channels x rows x columns)",
        where="torch.nn.Conv2d, keras.layers.Conv2D (data_format): the documented shapes",
    ),
    row(
        "flatten-columns-first",
        "an image is flattened column by column",
        "rows, columns, channels",
        "columns, rows, channels",
        only(Flatten, _columns_first),
        by="Fortran's order: MATLAB, R, numpy's order=\"F\"",
        where="numpy.reshape: order",
    ),
    row(
        "padding-one-sided",
        "the padding stands unevenly{of}",
        "pad rows and columns on each side",
        "fewer before than after, or the reverse",
        _paddings,
        by="TensorFlow, Keras and JAX where padding is SAME, the stride exceeds 1 and the sum of "
        "the padding is odd: the odd one comes after",
        where="https://www.tensorflow.org/api_docs/python/tf/nn: notes on padding",
    ),
    row(
        "pool-counts-padding",
        "the average of a pool counts its padding where the judge's does not, or the reverse",
        "sum / size²",
        "sum / number on the image",
        lambda layer, _: [("", _counted)] if isinstance(layer, AveragePool) and layer.pad else [],
        by="torch and Flax count the zeros (count_include_pad=True); TensorFlow and Keras do not",
        where="torch.nn.AvgPool2d, flax.linen.avg_pool: count_include_pad",
    ),
    row(
        "leaky-slope",
        "the ReLU has slope {0} below 0",
        "max(z, 0)",
        "z > 0 ? z : slope z",
        only(Relu, _leaky),
        (1e-3, 1e-2, 0.1, 0.3, 1.0),
        by="a LeakyReLU's slope: torch and JAX 0.01, Keras 0.3, tf.nn 0.2",
        where="torch.nn.LeakyReLU, jax.nn.leaky_relu, keras.layers.LeakyReLU, tf.nn.leaky_relu",
    ),
    row(
        "relu6",
        "the ReLU is cut off at 6",
        "max(z, 0)",
        "min(max(z, 0), 6)",
        only(Relu, _function(lambda x: np.clip(x, 0.0, 6.0))),
        by="MobileNetV2",
        where="https://arxiv.org/abs/1801.04381",
    ),
    row(
        "softplus",
        "the ReLU is a softplus",
        "max(z, 0)",
        "log(1 + exp(z))",
        only(Relu, _function(lambda x: np.logaddexp(0.0, x)), _function(_softplus_of_torch)),
        by="torch's is z itself beyond 20",
        where="torch.nn.Softplus: threshold",
    ),
    row(
        "activation-missing",
        "the activation is left out",
        "f(z)",
        "z",
        only((Sigmoid, Tanh, Softmax), _function(lambda x: x)),
    ),
    row(
        "sigmoid-for-tanh",
        "the tanh is a sigmoid",
        "tanh(z)",
        "1 / (1 + exp(-z))",
        only(Tanh, _function(_sigmoid)),
    ),
    row(
        "tanh-for-sigmoid",
        "the sigmoid is a tanh",
        "1 / (1 + exp(-z))",
        "tanh(z)",
        only(Sigmoid, _function(np.tanh)),
    ),
    row(
        "hard-sigmoid-sixth",
        "the sigmoid is the hard one of slope 1/6",
        "1 / (1 + exp(-z))",
        "clip(z / 6 + 1 / 2, 0, 1)",
        only(Sigmoid, _function(lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0))),
        by="hard_sigmoid of torch, JAX and Keras 3",
        where="torch.nn.Hardsigmoid, jax.nn.hard_sigmoid, keras.activations.hard_sigmoid",
    ),
    row(
        "hard-sigmoid-fifth",
        "the sigmoid is the hard one of slope 0.2",
        "1 / (1 + exp(-z))",
        "clip(0.2 z + 1 / 2, 0, 1)",
        only(Sigmoid, _function(lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0))),
        by="hard_sigmoid of Keras up to 2, ONNX's HardSigmoid",
        where="https://onnx.ai/onnx/operators/onnx__HardSigmoid.html: alpha",
    ),
    row(
        "softmax-over-samples",
        "the softmax is taken over the samples, not the classes",
        "over the last axis",
        "over the first axis",
        only(Softmax, _function(partial(_softmax, axis=0))),
        by="torch's functional.softmax of one axis or three, where dim is not given",
        where="torch/nn/functional.py: _get_softmax_dim",
    ),
    row(
        "outputs-softmax",
        "the outputs have gone through a softmax",
        "z",
        "softmax(z)",
        _on_outputs(_softmax),
        by="models for Keras' losses, which take probabilities unless from_logits=True",
        where="keras.losses.CategoricalCrossentropy: from_logits",
    ),
    row(
        "outputs-sigmoid",
        "the outputs have gone through a sigmoid",
        "z",
        "1 / (1 + exp(-z))",
        _on_outputs(_sigmoid),
        by="models for Keras' losses, and for torch's BCELoss, which take probabilities",
        where="keras.losses.BinaryCrossentropy: from_logits; torch.nn.BCELoss",
    ),
    _rounded(
        "TF32",
        "torch: convolutions on CUDA (matrix products too up to 1.11); TensorFlow since 2.4; JAX "
        "on such GPUs: all on NVIDIA's Ampere and later",
        "https://docs.pytorch.org/docs/stable/notes/cuda.html; tf.config.experimental."
        "enable_tensor_float_32_execution; jax.default_matmul_precision",
    ),
    _rounded("TF32, cut", "", ""),
    _rounded("bfloat16", "JAX on TPUs, oneDNN's fast-math mode", "jax.default_matmul_precision"),
    _rounded("bfloat16, cut", "", ""),
    _rounded("float16", "torch.autocast on CUDA", "torch.amp: torch.autocast"),
)
