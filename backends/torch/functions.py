"""Anybody's function in PyTorch: its arguments as tensors, its value and derivatives as arrays.

May import torch, NumPy and, from the harness, `interface` only. Read it beside the others: same
names, same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.interface import Array, Unavailable

# Whether what a file makes as it is imported keeps the dtype of that moment (see `wide`).
ANEW = False


def wide() -> contextlib.AbstractContextManager[Any]:
    """In here float64 is float64, as it always is."""
    return contextlib.nullcontext()


def put(array: Array) -> Tensor:
    """A tensor in the array's own memory, which nobody else holds, with its strides."""
    return torch.from_numpy(array)


def is_own(value: Any) -> bool:
    """Whether it is a tensor."""
    return isinstance(value, Tensor)


def fetch(value: Tensor) -> tuple[Array, str]:
    """A fresh copy, and the dtype's name; bfloat16, which NumPy lacks, as float32."""
    held = value.detach().cpu().resolve_conj().resolve_neg()
    name = str(held.dtype).removeprefix("torch.")
    return np.array((held.float() if held.dtype == torch.bfloat16 else held).numpy()), name


def derivatives(
    call: Callable[[list[Any]], list[Any]],
    arrays: Sequence[Array],
    weigh: Callable[[int, tuple[int, ...]], Array],
) -> list[Array]:
    """Of the sum of weights * values, by each array; zeros by one that no value depends on.

    call: from tensors to all that comes out, of which floats count; weigh: from place and shape.
    Unavailable where nothing that comes out has a gradient.
    """
    leaves = [put(array).requires_grad_() for array in arrays]
    # A copy each: a leaf itself may not be written into.
    values = call([leaf.clone() for leaf in leaves])
    # Summed here: weights that torch is handed make it import a second's worth of SymPy.
    sums = [
        (value * torch.from_numpy(weigh(place, tuple(value.shape))).to(value.dtype)).sum()
        for place, value in enumerate(values)
        if is_own(value) and value.requires_grad
    ]
    grads = torch.autograd.grad(sums, leaves, allow_unused=True) if sums else [None]
    if all(grad is None for grad in grads):
        raise Unavailable("nothing that comes out has a gradient")
    return [
        fetch(torch.zeros_like(leaf) if grad is None else grad)[0]
        for leaf, grad in zip(leaves, grads, strict=True)
    ]
