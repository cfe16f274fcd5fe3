"""What may be so of any tensor, whatever the rung: another layout, digits of float32 only.

Inputs are explained here too: how pixels are scaled, what labels count from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from harness.explain.hypothesis import Hypothesis, Number, Prediction
from harness.explain.seen import Seen
from harness.explain.way import stretch
from harness.interface import Array, State
from harness.measure.distance import relative

# What a float64 process is off by where it computes in float32: that dtype's limit, with room.
OF_FLOAT32 = 1e-5
# Columns are told apart by their values alone: beyond so many no order is sought.
MOST_COLUMNS = 4096
# What float32 may leave of a pixel that was normalised, from 0 to 255.
NEARLY_WHOLE = 1e-3
ANY = ("inputs", "forward", "gradients")


def _want(seen: Seen, key: str) -> Array:
    return stretch(seen, key).value({}) if key.startswith("trace.") else seen.want(key)


def _laid(change: Callable[[Array], Array | None], seen: Seen, sites: Sequence[str]
          ) -> Iterator[Prediction]:  # fmt: skip
    """What is wanted, laid out otherwise."""
    values: State = {}
    for key in sites:
        other = change(_want(seen, key))
        if other is not None:
            values[key] = other
    yield Prediction(values)


def _transposed(want: Array) -> Array | None:
    """A matrix read column by column; an image's or a kernel's rows and columns exchanged."""
    if want.ndim == 2 and min(want.shape) > 1:
        return want.T.reshape(want.shape)
    if want.ndim != 4:
        return None
    # Images are n x rows x columns x channels, kernels rows x columns first.
    first = 0 if want.shape[0] == want.shape[1] else 1
    return want.swapaxes(first, first + 1).reshape(want.shape)


def _images_turned(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Square images that lie flat, their rows and columns exchanged."""
    for key in sites:
        want = _want(seen, key)
        side = math.isqrt(want.shape[-1]) if want.ndim == 2 else 0
        if key == "x" and side > 1 and side * side == want.shape[1]:
            turned = want.reshape(-1, side, side).swapaxes(1, 2).reshape(want.shape)
            yield Prediction({key: turned})


def _channels_first(want: Array) -> Array | None:
    if want.ndim != 4:
        return None
    return want.transpose(0, 3, 1, 2).reshape(want.shape)


def _permuted(axis: int, seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """What is wanted with its rows or columns in the order that they are found in."""
    values: State = {}
    for key in sites:
        want, got = _want(seen, key), seen.tensors[key].astype(np.float64)
        if want.ndim and want.shape == got.shape:
            order = _order(np.moveaxis(want, axis, 0), np.moveaxis(got, axis, 0))
            if order is not None:
                values[key] = np.take(want, order, axis=axis)
    yield Prediction(values)


def _order(want: Array, got: Array) -> Array | None:
    """Which of the wanted each of the found is nearest to, each once; None: no such order."""
    n = len(want)
    if not 1 < n <= MOST_COLUMNS:
        return None
    want, got = (a.reshape(n, -1).astype(np.float64) for a in (want, got))
    # Nearest by a random projection: equal ones meet in it, others do not.
    along = np.random.default_rng(0).standard_normal(want.shape[1])
    order = np.empty(n, np.int64)
    order[np.argsort(got @ along, kind="stable")] = np.argsort(want @ along, kind="stable")
    return None if (order == np.arange(n)).all() else order


def _float32(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """What a float64 process gave has float32's digits, and is off by no more than those."""
    values: State = {}
    for key in sites:
        got, name = seen.tensors[key], key.removeprefix("new.")
        trained = key.startswith("new.") and name in seen.wanted.changes
        want = seen.state[name] - seen.want(key) if trained else _want(seen, key)
        near = got.shape == want.shape and relative(got - want, want) <= OF_FLOAT32
        double = seen.off[key].measurement.dtype == "float64"
        if double and near and (got.astype(np.float32) == got).all():
            values[key] = seen.state[name] - got if trained else got
    yield Prediction(values)


# -- inputs --------------------------------------------------------------------------------------


def _pixels(change: Callable[[Array], Array], seen: Seen, sites: Sequence[str]
            ) -> Iterator[Prediction]:  # fmt: skip
    """What x would be of the same pixels (from 0 to 255)."""
    if "x" in sites:
        with np.errstate(all="ignore"):
            yield Prediction({"x": change(_of_255(seen)).astype(np.float64)})


def _shares(seen: Seen) -> Array:
    """What x is before it is normalised: from 0 to 1, of images."""
    mean, deviation = seen.wanted.workload.normalise or (0.0, 1.0)
    return np.asarray(seen.batch["x"] * np.float32(deviation) + np.float32(mean), np.float64)


def _of_255(seen: Seen) -> Array:
    """The pixels that x is made of, whole numbers; of a made batch they need not be."""
    values = 255 * _shares(seen)
    whole = np.rint(values)
    return np.where(np.abs(values - whole) < NEARLY_WHOLE, whole, values)


def _not_normalised(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    if "x" in sites and seen.wanted.workload.normalise is not None:
        yield Prediction({"x": _of_255(seen) / 255})


def _normalised(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    """Less a mean, over a deviation; both are fitted, to every element of x."""
    if "x" not in sites or seen.tensors["x"].shape != seen.batch["x"].shape:
        return
    x, got = _shares(seen), seen.tensors["x"].astype(np.float64)
    centre = x - x.mean()
    slope = float(np.vdot(centre, got) / (np.vdot(centre, centre) or 1.0))
    if not slope > 0:
        return
    mean = float(x.mean() - got.mean() / slope)
    if abs(mean) > 1e-6:
        numbers = Number(mean, 1e-6), Number(1 / slope, 1e-6 / slope)
        yield Prediction({"x": (x - mean) * slope}, numbers)


def _labels(seen: Seen, sites: Sequence[str]) -> Iterator[Prediction]:
    y = seen.wanted.batch.get("y")
    if "y" in sites and y is not None and y.dtype.kind in "iu" and len(y):
        got = seen.tensors["y"]
        if got.shape == y.shape:
            by = int(got[0]) - int(y[0])
            yield Prediction({"y": y + by}, of=f"by {by}")


TABLE = (
    Hypothesis(
        "transposed", ANY, "it lies transposed", "rows, columns", "columns, rows",
        partial(_laid, _transposed), by="Fortran's order: MATLAB, R, numpy's order=\"F\"",
        where="numpy.reshape: order",
    ),
    Hypothesis(
        "channels-first", ANY, "it lies channels first", "rows, columns, channels",
        "channels, rows, columns", partial(_laid, _channels_first),
        by="torch (n x channels x rows x columns)", where="torch.nn.Conv2d: Shape",
    ),
    Hypothesis(
        "images-transposed", ("inputs",), "the images lie transposed", "rows, columns",
        "columns, rows", _images_turned,
        by="EMNIST's files are transposed against MNIST's",
        where="https://www.tensorflow.org/datasets/catalog/emnist",
    ),
    Hypothesis(
        "columns-permuted", ANY, "its columns are in another order", "as declared",
        "permuted (units, features, the gates of a cell)", partial(_permuted, -1),
        by="the gates of a GRU: torch r, z, n; Keras z, r, h",
        where="torch.nn.GRU: weight_ih_l[k]; keras/src/layers/rnn/gru.py", general=True,
    ),
    Hypothesis(
        "rows-permuted", ANY, "its rows are in another order", "as declared",
        "permuted (samples, inputs)", partial(_permuted, 0), general=True,
    ),
    Hypothesis(
        "float32-inside", ("forward", "loss", "gradients", "update"),
        "a float64 process computes it in float32", "float64", "float32",
        _float32,
        by="JAX unless jax_enable_x64 is set; Keras' floatx",
        where="https://docs.jax.dev/en/latest/default_dtypes.html; keras.config.floatx",
    ),
    Hypothesis(
        "pixels-by-256", ("inputs",), "pixels are divided by 256", "pixel / 255", "pixel / 256",
        partial(_pixels, lambda pixel: pixel / 256),
    ),
    Hypothesis(
        "pixels-not-divided", ("inputs",), "pixels are not divided by 255", "pixel / 255",
        "pixel", partial(_pixels, lambda pixel: pixel),
        by="keras.datasets, and .data of torchvision's; its ToTensor divides",
        where="torchvision.transforms.ToTensor; keras.datasets.mnist",
    ),
    Hypothesis(
        "not-normalised", ("inputs",), "inputs are not normalised", "(x - mean) / deviation", "x",
        _not_normalised,
    ),
    Hypothesis(
        "normalised", ("inputs",), "inputs are normalised by mean {0} and deviation {1}",
        "x as declared", "(x - mean) / deviation", _normalised,
        by="PyTorch's MNIST example: 0.1307 and 0.3081",
        where="https://github.com/pytorch/examples/blob/main/mnist/main.py",
    ),
    Hypothesis(
        "labels-shifted", ("inputs",), "labels are shifted {of}", "from 0", "from 1, or another",
        _labels, by="R and MATLAB count from 1, and EMNIST's letters do",
        where="torchvision.datasets.EMNIST: letters",
    ),
)  # fmt: skip
