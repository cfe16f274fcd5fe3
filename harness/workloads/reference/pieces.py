"""The judge's pieces: layers as plain data that say their value, and what goes back.

Float64 NumPy, no buffers, no tricks; independent of the NumPy backend, and shares no line with it.
Each is proven by tests: central differences, brute force, the frameworks' autodiff. Imports NumPy
and the interface only.

Shapes for a batch of n: x (n, ...), images (n, rows, columns, channels), kernels (height, width,
inputs, outputs). Whatever dtype goes in is computed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from harness.interface import Array, Product, State, Tensor

Shape = tuple[int, ...]
# What a layer leaves on the way forward for the way back.
Keep = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pass:
    """One way through the layers: state, noise, training or evaluation, and how to multiply.

    times(part, a, b): the layer's product of that name ("forward", "weights", "inputs").
    """

    state: State
    noise: State
    training: bool
    times: Callable[[str, Array, Array], Array]


class Slot(msgspec.Struct, frozen=True):
    """A tensor that a layer needs: how it starts is the workload's choice.

    fan_in: inputs of one unit; kind: "weight" or "bias", or "ones" and "zeros" for what starts so
    whatever is chosen.
    """

    tensor: Tensor
    fan_in: int
    kind: str


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """A layer. `letter`: what its value is called in a trace ("" for none: nothing is computed)."""

    @property
    def letter(self) -> str:
        return "h"

    @property
    def makes_units(self) -> bool:
        """Whether the last axis of its value counts other units than that of its input."""
        return False

    @property
    def selects(self) -> bool:
        """Whether each element of its value is one of its input, or 0."""
        return False

    def shape(self, given: Shape) -> Shape:
        """Of one sample's value; ValueError where it cannot take what it is given."""
        return given

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:  # noqa: ARG002
        """Its tensors. axis, made: what the last axes of its input and of its value count."""
        return ()

    def axis(self, axis: str, made: str, given: Shape) -> str:  # noqa: ARG002
        """What the last axis of its value counts."""
        return made if self.makes_units else axis

    def products(self, n: int, given: Shape) -> dict[str, Product]:  # noqa: ARG002
        """Its matrix products for n samples, by part."""
        return {}

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        """Its value."""
        raise NotImplementedError

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        """The gradient by each of its trained tensors, from that by its value."""
        return {}

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        """The gradient by its input."""
        raise NotImplementedError

    def running(self, at: Pass, keep: Keep) -> State:  # noqa: ARG002
        """What a training pass makes of its running tensors."""
        return {}

    def scale(self, x: Array, at: Pass) -> Array:
        """Of an exact input: |error of its value| is a small multiple of u times this."""
        raise NotImplementedError

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:
        """Mean square of its value's rounding error, in units of u², from that of its input."""
        raise NotImplementedError


class Dense(Piece, frozen=True):
    """x @ W + b: (n, inputs) -> (n, outputs). No bias where its name is empty."""

    weight: str
    bias: str
    inputs: int
    outputs: int

    @property
    def letter(self) -> str:
        return "z"

    @property
    def makes_units(self) -> bool:
        return True

    def shape(self, given: Shape) -> Shape:
        if given != (self.inputs,):
            raise ValueError(f"{self.weight} takes ({self.inputs},) and is given {given}")
        return (self.outputs,)

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:
        weight = Tensor(self.weight, (self.inputs, self.outputs), axes=(axis, made))
        bias = Tensor(self.bias, (self.outputs,), axes=(made,))
        return _with_bias(weight, bias, self.inputs)

    def products(self, n: int, given: Shape) -> dict[str, Product]:  # noqa: ARG002
        x, w, d = (n, self.inputs), (self.inputs, self.outputs), (n, self.outputs)
        return {
            "forward": Product(x, w),
            "weights": Product(x, d, transposed="a"),
            "inputs": Product(d, w, transposed="b"),
        }

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["x"] = x
        z = at.times("forward", x, at.state[self.weight])
        return z + at.state[self.bias] if self.bias else z

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:
        weights = {self.weight: at.times("weights", keep["x"].T, d)}
        return weights | ({self.bias: d.sum(axis=0)} if self.bias else {})

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return at.times("inputs", d, at.state[self.weight].T)

    def scale(self, x: Array, at: Pass) -> Array:
        z = np.abs(x) @ np.abs(at.state[self.weight])
        return z + np.abs(at.state[self.bias]) if self.bias else z

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        z = (x**2 + error) @ at.state[self.weight] ** 2
        return z + at.state[self.bias] ** 2 if self.bias else z


class Conv(Piece, frozen=True):
    """Cross-correlation with kernels (size, size, inputs, outputs), and a bias unless it is empty.

    pad: rows and columns of zeros on each side.
    """

    kernel: str
    bias: str
    inputs: int
    outputs: int
    size: int
    stride: int = 1
    pad: int = 0

    @property
    def letter(self) -> str:
        return "z"

    @property
    def makes_units(self) -> bool:
        return True

    def shape(self, given: Shape) -> Shape:
        if len(given) != 3 or given[2] != self.inputs or min(given[:2]) + 2 * self.pad < self.size:
            raise ValueError(
                f"{self.kernel} takes images of {self.inputs} channels, {self.size} x {self.size} "
                f"at least, and is given {given}"
            )
        return (*_positions(given, self.size, self.stride, self.pad), self.outputs)

    def slots(self, axis: str, made: str) -> tuple[Slot, ...]:
        shape = (self.size, self.size, self.inputs, self.outputs)
        kernel = Tensor(self.kernel, shape, axes=("", "", axis, made))
        bias = Tensor(self.bias, (self.outputs,), axes=(made,))
        return _with_bias(kernel, bias, self.size**2 * self.inputs)

    def products(self, n: int, given: Shape) -> dict[str, Product]:
        rows = n * math.prod(self.shape(given)[:2])
        x, w = (rows, self.size**2 * self.inputs), (self.size**2 * self.inputs, self.outputs)
        d = (rows, self.outputs)
        return {
            "forward": Product(x, w, bound=False),
            "weights": Product(x, d, transposed="a", bound=False),
            "inputs": Product(d, w, transposed="b", bound=False),
        }

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:
        keep["windows"], keep["shape"] = self._windows(x), x.shape
        z = at.times("forward", keep["windows"], self._flat(at.state[self.kernel]))
        z = z.reshape(len(x), *self.shape(x.shape[1:]))
        return z + at.state[self.bias] if self.bias else z

    def grads(self, d: Array, at: Pass, keep: Keep) -> State:
        flat = d.reshape(-1, self.outputs)
        kernel = at.times("weights", keep["windows"].T, flat)
        grads = {self.kernel: kernel.reshape(at.state[self.kernel].shape)}
        return grads | ({self.bias: flat.sum(axis=0)} if self.bias else {})

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:
        kernel = self._flat(at.state[self.kernel])
        windows = at.times("inputs", d.reshape(-1, self.outputs), kernel.T)
        windows = windows.reshape(*d.shape[:3], self.size, self.size, self.inputs)
        return _gathered(windows, keep["shape"], self.stride, self.pad)

    def scale(self, x: Array, at: Pass) -> Array:
        return self._like(np.abs, x, at)

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return self._like(np.square, np.sqrt(x**2 + error), at)

    def _like(self, function: Callable[[Array], Array], x: Array, at: Pass) -> Array:
        """The value of f(x), f(K) and f(b) in place of x, K and b."""
        z = self._windows(function(x)) @ self._flat(function(at.state[self.kernel]))
        z = z.reshape(len(x), *self.shape(x.shape[1:]))
        return z + function(at.state[self.bias]) if self.bias else z

    def _windows(self, x: Array) -> Array:
        """(n * positions, size * size * inputs): what each position sees, in the kernel's order."""
        windows = _windows(x, self.size, self.stride, self.pad, 0.0)
        return windows.reshape(-1, self.size**2 * self.inputs)

    def _flat(self, kernel: Array) -> Array:
        return kernel.reshape(-1, self.outputs)


class Relu(Piece, frozen=True):
    """max(z, 0); derivative 0 at 0, NaN passes."""

    @property
    def selects(self) -> bool:
        return True

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        keep["z"] = x
        return np.maximum(x, 0.0)

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.where(keep["z"] <= 0.0, 0.0, d)  # NaN passes, as forward

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return error


class Sigmoid(Piece, frozen=True):
    """1 / (1 + exp(-z)), without overflow."""

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        small = np.exp(-np.abs(x))
        value = np.where(x >= 0, 1.0, small) / (1.0 + small)
        # 1 - value, without cancellation.
        keep["slope"] = value * (np.where(x >= 0, small, 1.0) / (1.0 + small))
        return value

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(d * keep["slope"])

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(error * keep["slope"] ** 2 + value**2)


class MaxPool(Piece, frozen=True):
    """The largest of each window; the gradient goes to the first largest, in row order.

    stride: 0 is the window's size. What is padded never wins.
    """

    size: int
    stride: int = 0
    pad: int = 0

    @property
    def letter(self) -> str:
        return "p"

    @property
    def selects(self) -> bool:
        return True

    def shape(self, given: Shape) -> Shape:
        if len(given) != 3 or min(given[:2]) + 2 * self.pad < self.size:
            raise ValueError(f"a pool of {self.size} x {self.size} is given {given}")
        return (*_positions(given, self.size, self._stride, self.pad), given[2])

    @property
    def _stride(self) -> int:
        return self.stride or self.size

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        flat = self.seen(x)
        keep["first"], keep["shape"] = flat.argmax(axis=3), x.shape
        return self.taken(flat, keep)

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        flat = np.zeros((*d.shape[:3], self.size**2, d.shape[3]), d.dtype)
        np.put_along_axis(flat, keep["first"][:, :, :, None], d[:, :, :, None], axis=3)
        windows = flat.reshape(*d.shape[:3], self.size, self.size, d.shape[3])
        return _gathered(windows, keep["shape"], self._stride, self.pad)

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return self.taken(self.seen(error), keep)

    def seen(self, x: Array) -> Array:
        """(n, rows, columns, size * size, channels): every window."""
        windows = _windows(x, self.size, self._stride, self.pad, -np.inf)
        return windows.reshape(*windows.shape[:3], self.size**2, windows.shape[5])

    def taken(self, flat: Array, keep: Keep) -> Array:
        """What stands where the largest was, of windows as `seen` gives them."""
        return np.take_along_axis(flat, keep["first"][:, :, :, None], axis=3)[:, :, :, 0]


class Flatten(Piece, frozen=True):
    """Rows, columns, channels in that order: (n, r, c, k) -> (n, r c k)."""

    @property
    def letter(self) -> str:
        return ""

    @property
    def selects(self) -> bool:
        return True

    def shape(self, given: Shape) -> Shape:
        return (math.prod(given),)

    def axis(self, axis: str, made: str, given: Shape) -> str:  # noqa: ARG002
        blocks = math.prod(given[:-1])
        return f"{blocks}*{axis}" if axis and blocks > 1 else axis

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        keep["shape"] = x.shape
        return x.reshape(len(x), -1)

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(d.reshape(keep["shape"]))

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return error.reshape(value.shape)


Layer = Dense | Conv | Relu | Sigmoid | MaxPool | Flatten


def _with_bias(weight: Tensor, bias: Tensor, fan_in: int) -> tuple[Slot, ...]:
    weights = Slot(weight, fan_in, "weight")
    return (weights, Slot(bias, fan_in, "bias")) if bias.name else (weights,)


def _positions(given: Shape, size: int, stride: int, pad: int) -> tuple[int, int]:
    rows, columns = ((length + 2 * pad - size) // stride + 1 for length in given[:2])
    return rows, columns


def _windows(x: Array, size: int, stride: int, pad: int, padded: float) -> Array:
    """(n, rows, columns, size, size, channels): every window of an image padded all around."""
    if pad:
        around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
        x = np.pad(x, around, constant_values=padded)
    every = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    return np.ascontiguousarray(every[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3))


def _gathered(windows: Array, shape: Shape, stride: int, pad: int) -> Array:
    """What came back through all windows, added up where they overlap: of the image's shape."""
    n, rows, columns, channels = shape
    d = np.zeros((n, rows + 2 * pad, columns + 2 * pad, channels), windows.dtype)
    down, right, size = windows.shape[1] * stride, windows.shape[2] * stride, windows.shape[3]
    for i in range(size):
        for j in range(size):
            d[:, i : i + down : stride, j : j + right : stride] += windows[:, :, :, i, j]
    return d[:, pad : pad + rows, pad : pad + columns]
