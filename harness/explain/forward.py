"""Other conventions on the way forward, by layer: each a value in place of the layer's own.

The error of a layer itself is explained where a process shows what it had before; else its outputs,
through the whole net.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from harness.explain.hypothesis import EPSILONS, Hypothesis, Prediction, fitted
from harness.explain.seen import Seen
from harness.explain.way import Place, Stretch, Value, plainly, stretch, with_tensor
from harness.interface import Array, State
from harness.workloads.reference.base import Keep, Pass, Piece
from harness.workloads.reference.noise import ROUNDINGS, with_fewer_bits
from harness.workloads.reference.pieces import (
    AveragePool,
    BatchNorm,
    Bias,
    Conv,
    Dense,
    Dropout,
    Flatten,
    MaxPool,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)

# A value, with what it says of itself: "" where the sentence says it all.
Variant = tuple[str, Value]
Variants = Callable[[Piece, Seen], Iterable[Variant]]


def _by_layer(
    variants: Variants, starts: Sequence[float], seen: Seen, sites: Sequence[str]
) -> Iterator[Prediction]:
    """Each variant in each layer on the way to the first site, and in all of them at once."""
    site = sites[0]
    way = stretch(seen, site)
    if seen.heavy and not way.shown:
        return
    for of, chosen in _choices(way, variants):
        for one in fitted(seen, (site,), partial(_at, way, site, chosen), starts):
            number = one.numbers[0].value if one.numbers else 0.0
            if seen.left(site, one.values[site]) <= seen.limit(site):
                for key in seen.off:
                    if key != site and (value := _nearest(seen, key, variants, number)) is not None:
                        one.values[key] = value
                yield one._replace(of=of)


def _choices(way: Stretch, variants: Variants) -> Iterator[tuple[str, dict[Place, Value]]]:
    own = {place: [*variants(layer, way.seen)] for place, layer in way.leaves}
    own = {place: found for place, found in own.items() if found}
    for places in [[place] for place in own] + ([[*own]] if len(own) > 1 else []):
        for number in range(min(len(own[place]) for place in places)):
            of = own[places[0]][number][0]
            yield of, {place: own[place][number][1] for place in places}


def _at(way: Stretch, key: str, chosen: dict[Place, Value], number: float) -> State:
    return {key: way.value({place: (value, number) for place, value in chosen.items()})}


def _nearest(seen: Seen, key: str, variants: Variants, number: float) -> Array | None:
    """What a variant with this number makes of another value that is off; None: there is none."""
    way = stretch(seen, key)
    made = [_at(way, key, chosen, number)[key] for _, chosen in _choices(way, variants)]
    return min(made, key=lambda value: seen.left(key, value), default=None)


def _only(kinds: type | tuple[type, ...], *values: Value) -> Variants:
    """These values, of layers of these kinds."""
    return lambda layer, _: [("", value) for value in values] if isinstance(layer, kinds) else []


def _layer(id_: str, sentence: str, here: str, there: str, variants: Variants,
           starts: Sequence[float] = (), by: str = "", where: str = "") -> Hypothesis:  # fmt: skip
    predict = partial(_by_layer, variants, starts)
    return Hypothesis(id_, ("forward",), sentence, here, there, predict, by, where)


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


# -- batch norm, dropout -------------------------------------------------------------------------


def _other_mode(layer: BatchNorm | Dropout, x: Array, at: Pass, _: float) -> Array:
    return plainly(layer, x, replace(at, training=not at.training))


def _with_eps(layer: BatchNorm, x: Array, at: Pass, eps: float) -> Array:
    return plainly(layer, x, at, eps=eps)


def _unbiased(layer: BatchNorm, x: Array, at: Pass, _: float) -> Array:
    """The batch's variance over n - 1."""
    if not at.training:
        return plainly(layer, x, at)
    n = x.size // layer.units
    over = tuple(range(x.ndim - 1))
    held = {layer.mean: x.mean(axis=over), layer.variance: x.var(axis=over) * n / max(n - 1, 1)}
    return plainly(layer, x, replace(with_tensor(at, **held), training=False))


def _dropped(keep: Callable[[Array, float], Array], scale: Callable[[float], float]) -> Value:
    def value(layer: Dropout, x: Array, at: Pass, _: float) -> Array:
        if not at.training:
            return x
        return np.asarray(x * keep(at.noise[layer.name], layer.p) * scale(layer.p))

    return value


# -- operands ------------------------------------------------------------------------------------

OPERANDS: dict[str, Callable[[Array], Array]] = {
    name: partial(with_fewer_bits, bits=bits, nearest=nearest)
    for name, (bits, nearest) in ROUNDINGS.items()
}
OPERANDS["float16"] = lambda a: a.astype(np.float16).astype(np.float64)


def _with_operands(operand: Callable[[Array], Array]) -> Variants:
    def value(layer: Piece, x: Array, at: Pass, _: float) -> Array:
        return layer.run(x, replace(at, times=lambda _, a, b: operand(a) @ operand(b)), Keep())

    return _only((Dense, Conv), value)


def _rounded(name: str, by: str, where: str) -> Hypothesis:
    """Products whose operands are rounded."""
    kind, _, cut = name.partition(", ")
    there = f"{kind}(a) @ {kind}(b)" + (", bits cut off" if cut else "")
    return _layer(
        f"operands-{name.lower().replace(', ', '-')}",
        f"the operands of products are {'cut' if cut else 'rounded'} to {kind}",
        "a @ b", there, _with_operands(OPERANDS[name]), by=by, where=where,
    )  # fmt: skip


TABLE = (
    _layer(
        "bias-missing",
        "the bias is not added",
        "x W + b",
        "x W",
        lambda layer, _: [("", _no_bias)] if _biased(layer) else [],
    ),
    _layer(
        "bias-twice",
        "the bias is added twice",
        "x W + b",
        "x W + 2 b",
        lambda layer, _: [("", _bias_twice)] if _biased(layer) else [],
    ),
    _layer(
        "bias-of-another",
        "the bias is another layer's{of}",
        "x W + b",
        "x W + b'",
        _other_biases,
    ),
    _layer(
        "weight-transposed",
        "the weight is read transposed",
        "x W, height x width in a kernel",
        "x Wᵀ, width x height",
        _only((Dense, Conv), _turned),
        by="torch holds nn.Linear's weight as outputs x inputs, a kernel as outputs x inputs x "
        "height x width; JAX, TensorFlow and Keras inputs x outputs",
        where="torch.nn.Linear, keras.layers.Dense: the documented shapes of the weights",
    ),
    _layer(
        "kernel-flipped",
        "the kernel is turned by half a turn, as in a true convolution",
        "sum of x[i + k] K[k]",
        "sum of x[i - k] K[k]",
        _only(Conv, _flipped),
        by="scipy.signal.convolve; every framework's layer correlates",
        where='torch.nn.Conv2d: "the valid cross-correlation operator"',
    ),
    _layer(
        "flatten-channels-first",
        "an image is flattened channels first",
        "rows, columns, channels",
        "channels, rows, columns",
        _only(Flatten, _channels_first),
        by="torch (images are n x channels x rows x columns)",
        where="torch.nn.Conv2d, keras.layers.Conv2D (data_format): the documented shapes",
    ),
    _layer(
        "flatten-columns-first",
        "an image is flattened column by column",
        "rows, columns, channels",
        "columns, rows, channels",
        _only(Flatten, _columns_first),
        by="Fortran's order: MATLAB, R, numpy's order=\"F\"",
        where="numpy.reshape: order",
    ),
    _layer(
        "padding-one-sided",
        "the padding stands unevenly{of}",
        "pad rows and columns on each side",
        "fewer before than after, or the reverse",
        _paddings,
        by="TensorFlow, Keras and JAX where padding is SAME, the stride exceeds 1 and the sum of "
        "the padding is odd: the odd one comes after",
        where="https://www.tensorflow.org/api_docs/python/tf/nn: notes on padding",
    ),
    _layer(
        "pool-counts-padding",
        "the average of a pool counts its padding where the judge's does not, or the reverse",
        "sum / size²",
        "sum / number on the image",
        lambda layer, _: [("", _counted)] if isinstance(layer, AveragePool) and layer.pad else [],
        by="torch and Flax count the zeros (count_include_pad=True); TensorFlow and Keras do not",
        where="torch.nn.AvgPool2d, flax.linen.avg_pool: count_include_pad",
    ),
    _layer(
        "leaky-slope",
        "the ReLU has slope {0} below 0",
        "max(z, 0)",
        "z > 0 ? z : slope z",
        _only(Relu, _leaky),
        (1e-3, 1e-2, 0.1, 0.3, 1.0),
        by="a LeakyReLU's slope: torch and JAX 0.01, Keras 0.3, tf.nn 0.2",
        where="torch.nn.LeakyReLU, jax.nn.leaky_relu, keras.layers.LeakyReLU, tf.nn.leaky_relu",
    ),
    _layer(
        "relu6",
        "the ReLU is cut off at 6",
        "max(z, 0)",
        "min(max(z, 0), 6)",
        _only(Relu, _function(lambda x: np.clip(x, 0.0, 6.0))),
        by="MobileNetV2",
        where="https://arxiv.org/abs/1801.04381",
    ),
    _layer(
        "softplus",
        "the ReLU is a softplus",
        "max(z, 0)",
        "log(1 + exp(z))",
        _only(Relu, _function(lambda x: np.logaddexp(0.0, x)), _function(_softplus_of_torch)),
        by="torch's is z itself beyond 20",
        where="torch.nn.Softplus: threshold",
    ),
    _layer(
        "activation-missing",
        "the activation is left out",
        "f(z)",
        "z",
        _only((Sigmoid, Tanh, Softmax), _function(lambda x: x)),
    ),
    _layer(
        "sigmoid-for-tanh",
        "the tanh is a sigmoid",
        "tanh(z)",
        "1 / (1 + exp(-z))",
        _only(Tanh, _function(_sigmoid)),
    ),
    _layer(
        "tanh-for-sigmoid",
        "the sigmoid is a tanh",
        "1 / (1 + exp(-z))",
        "tanh(z)",
        _only(Sigmoid, _function(np.tanh)),
    ),
    _layer(
        "hard-sigmoid-sixth",
        "the sigmoid is the hard one of slope 1/6",
        "1 / (1 + exp(-z))",
        "clip(z / 6 + 1 / 2, 0, 1)",
        _only(Sigmoid, _function(lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0))),
        by="hard_sigmoid of torch, JAX and Keras 3",
        where="torch.nn.Hardsigmoid, jax.nn.hard_sigmoid, keras.activations.hard_sigmoid",
    ),
    _layer(
        "hard-sigmoid-fifth",
        "the sigmoid is the hard one of slope 0.2",
        "1 / (1 + exp(-z))",
        "clip(0.2 z + 1 / 2, 0, 1)",
        _only(Sigmoid, _function(lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0))),
        by="hard_sigmoid of Keras up to 2, ONNX's HardSigmoid",
        where="https://onnx.ai/onnx/operators/onnx__HardSigmoid.html: alpha",
    ),
    _layer(
        "softmax-over-samples",
        "the softmax is taken over the samples, not the classes",
        "over the last axis",
        "over the first axis",
        _only(Softmax, _function(partial(_softmax, axis=0))),
        by="torch's functional.softmax of one axis or three, where dim is not given",
        where="torch/nn/functional.py: _get_softmax_dim",
    ),
    _layer(
        "outputs-softmax",
        "the outputs have gone through a softmax",
        "z",
        "softmax(z)",
        _on_outputs(_softmax),
        by="models for Keras' losses, which take probabilities unless from_logits=True",
        where="keras.losses.CategoricalCrossentropy: from_logits",
    ),
    _layer(
        "outputs-sigmoid",
        "the outputs have gone through a sigmoid",
        "z",
        "1 / (1 + exp(-z))",
        _on_outputs(_sigmoid),
        by="models for Keras' losses, and for torch's BCELoss, which take probabilities",
        where="keras.losses.BinaryCrossentropy: from_logits; torch.nn.BCELoss",
    ),
    _layer(
        "batch-norm-eps",
        "batch norm's ε is {0}",
        "sqrt(variance + ε), ε as declared",
        "another ε",
        _only(BatchNorm, _with_eps),
        EPSILONS,
        by="torch and Flax 1e-5; Keras 1e-3",
        where="torch.nn.BatchNorm1d, flax.linen.BatchNorm, keras.layers.BatchNormalization",
    ),
    _layer(
        "other-mode",
        "batch norm or dropout is in the other mode: evaluation where a step is "
        "taken, or a step's where the model is evaluated",
        "by the mode",
        "by the other mode",
        _only((BatchNorm, Dropout), _other_mode),
        by="torch: a module trains until eval() is called; Keras and Flax are told at each call",
        where="torch.nn.Module.eval, keras.layers.BatchNormalization: training",
    ),
    _layer(
        "batch-norm-n-1",
        "batch norm divides the batch's variance by n - 1",
        "sum of (x - mean)² / n",
        "sum of (x - mean)² / (n - 1)",
        _only(BatchNorm, _unbiased),
        by="torch.var by default; numpy.var, jax.numpy.var and tf.math.reduce_variance divide by n",
        where="torch.var: correction=1; numpy.var: ddof=0",
    ),
    _layer(
        "dropout-keep-for-drop",
        "dropout drops what it should keep: p is the share kept",
        "(U >= p) / (1 - p)",
        "(U < 1 - p) / (1 - p)",
        _only(Dropout, _dropped(lambda u, p: u < 1 - p, lambda p: 1 / (1 - p))),
        by="TensorFlow 1: tf.nn.dropout(keep_prob); everybody else says what is dropped",
        where="https://www.tensorflow.org/versions/r1.15/api_docs/python/tf/nn/dropout",
    ),
    _layer(
        "dropout-other-half",
        "dropout keeps what the judge drops, and drops as much",
        "(U >= p) / (1 - p)",
        "(U < p) / p",
        _only(Dropout, _dropped(lambda u, p: u < p, lambda p: 1 / p if p else 0.0)),
    ),
    _layer(
        "dropout-not-scaled",
        "what dropout leaves is not scaled",
        "(U >= p) / (1 - p)",
        "U >= p",
        _only(Dropout, _dropped(lambda u, p: u >= p, lambda _: 1.0)),
        by="Srivastava et al., who scale the weights of the evaluation",
        where="https://jmlr.org/papers/v15/srivastava14a.html",
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
