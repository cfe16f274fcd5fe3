"""Single operators by name, in PyTorch: value, and derivatives by autograd. May import torch."""

from collections.abc import Callable

import torch
from torch import Tensor


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


OPERATORS: dict[str, Callable[..., Tensor]] = {"matmul": matmul}


def value_and_derivatives(name: str, *arrays: Tensor) -> tuple[Tensor, ...]:
    """Value of the operator, then the derivative of its elements' sum by each argument.

    Raises ValueError for an unknown name.
    """
    if name not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    arguments = [a.requires_grad_() for a in arrays]
    value = OPERATORS[name](*arguments)
    return value.detach(), *torch.autograd.grad(value.sum(), arguments)
