"""Pieces of images (n, rows, columns, channels): convolution, pools, flatten.

Imports NumPy and the interface only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np

from harness.interface import Array, Product, State, Tensor
from harness.workloads.reference.base import (
    Keep,
    Kink,
    Pass,
    Piece,
    Seen,
    Shape,
    Slot,
    check_numbers,
    with_bias,
)

# Two values this near are one: a window of equal inputs ties whichever of them wins.
TIE = 1e-12


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
    letter: ClassVar[str] = "z"
    makes_units: ClassVar[bool] = True

    def shape(self, given: Shape) -> Shape:
        check_numbers(self.kernel, 1, outputs=self.outputs, size=self.size, stride=self.stride)
        check_numbers(self.kernel, 0, pad=self.pad)
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
        return with_bias(kernel, bias, self.size**2 * self.inputs)

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


class Enlarge(Piece, frozen=True):
    """Each pixel repeated `times` x `times`: (n, r, c, k) -> (n, times r, times c, k)."""

    times: int
    letter: ClassVar[str] = "e"
    selects: ClassVar[bool] = True

    def shape(self, given: Shape) -> Shape:
        if len(given) != 3 or self.times < 1:
            raise ValueError(f"enlarged {self.times} times is an image, given {given}")
        return (given[0] * self.times, given[1] * self.times, given[2])

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return x.repeat(self.times, axis=1).repeat(self.times, axis=2)

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        n, rows, columns, channels = d.shape
        blocks = rows // self.times, self.times, columns // self.times, self.times
        return np.asarray(d.reshape(n, *blocks, channels).sum(axis=(2, 4)))

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return self.run(np.broadcast_to(error, x.shape), at, keep)


class MaxPool(Piece, frozen=True):
    """The largest of each window; the gradient goes to the first largest, in row order.

    stride: 0 is the window's size. What is padded never wins.
    """

    size: int
    stride: int = 0
    pad: int = 0
    letter: ClassVar[str] = "p"
    selects: ClassVar[bool] = True

    def shape(self, given: Shape) -> Shape:
        return _pooled(given, self.size, self._stride, self.pad)

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

    def kinks(self, seen: Seen, keep: Keep) -> Iterator[Kink]:
        """How far the largest of each window is ahead of the next that is not its equal."""
        largest = seen.value[:, :, :, None]
        with np.errstate(invalid="ignore"):
            behind = largest - self.seen(seen.x)
        behind[behind <= TIE * np.abs(largest)] = np.inf
        keep["second"] = behind.argmin(axis=3)
        both = self.taken(self.seen(np.broadcast_to(2 * seen.scale, seen.x.shape)), keep)
        yield Kink(self, keep, behind.min(axis=3), both)

    def other_side(self, keep: Keep, near: Array) -> None:
        keep["first"] = np.where(near, keep["second"], keep["first"])

    def seen(self, x: Array) -> Array:
        """(n, rows, columns, size * size, channels): every window."""
        windows = _windows(x, self.size, self._stride, self.pad, -np.inf)
        return windows.reshape(*windows.shape[:3], self.size**2, windows.shape[5])

    def taken(self, flat: Array, keep: Keep) -> Array:
        """What stands where the largest was, of windows as `seen` gives them."""
        return np.take_along_axis(flat, keep["first"][:, :, :, None], axis=3)[:, :, :, 0]


class AveragePool(Piece, frozen=True):
    """The mean of each window. stride: 0 is the window's size.

    counted: what is padded counts as zeros; else the mean is of what lies on the image.
    """

    size: int
    stride: int = 0
    pad: int = 0
    counted: bool = True
    letter: ClassVar[str] = "p"

    def shape(self, given: Shape) -> Shape:
        return _pooled(given, self.size, self._stride, self.pad)

    @property
    def _stride(self) -> int:
        return self.stride or self.size

    def run(self, x: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        keep["shape"], keep["count"] = x.shape, self._count(x)
        return np.asarray(self._sum(x) / keep["count"])

    def back(self, d: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        each = (d / keep["count"])[:, :, :, None, None]
        windows = np.broadcast_to(each, (*d.shape[:3], self.size, self.size, d.shape[3]))
        return _gathered(windows, keep["shape"], self._stride, self.pad)

    def spread(self, x: Array, value: Array, error: Array, at: Pass, keep: Keep) -> Array:  # noqa: ARG002
        return np.asarray(self._sum(x**2 + error) / keep["count"] ** 2)

    def _sum(self, x: Array) -> Array:
        return np.asarray(_windows(x, self.size, self._stride, self.pad, 0.0).sum(axis=(3, 4)))

    def _count(self, x: Array) -> Array:
        """What each window's sum is divided by: (rows, columns, 1)."""
        if self.counted:
            return np.asarray(self.size**2, x.dtype)
        return np.asarray(self._sum(np.ones((1, *x.shape[1:3], 1), x.dtype))[0])


class Flatten(Piece, frozen=True):
    """Rows, columns, channels in that order: (n, r, c, k) -> (n, r c k)."""

    letter: ClassVar[str] = ""
    selects: ClassVar[bool] = True

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


def _pooled(given: Shape, size: int, stride: int, pad: int) -> Shape:
    """Of one sample behind a pool; ValueError. A window of padding alone has no value."""
    check_numbers("a pool", 1, size=size, stride=stride)
    if len(given) != 3 or min(given[:2]) + 2 * pad < size or not 0 <= pad <= size // 2:
        raise ValueError(f"a pool of {size} x {size}, pad {pad}, is given {given}")
    return (*_positions(given, size, stride, pad), given[2])


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
