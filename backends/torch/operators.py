"""Single operators by name, in PyTorch: value, and derivatives by autograd. May import torch only.

Read it beside the others: same names, same order. "relu" is the framework's own, "relu/scratch" the
expression of Dive into Deep Learning for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,), of
"matmul" (n, k) and (k, m). Softmaxes are over a row, losses means over rows: (), in nats.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def _softmax_scratch(X: Tensor) -> Tensor:
    """Without the shift that keeps exp from overflowing."""
    X_exp = torch.exp(X)
    return X_exp / X_exp.sum(1, keepdim=True)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "matmul": lambda A, B: A @ B,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda X: F.softmax(X, dim=1),
    "log_softmax": lambda X: F.log_softmax(X, dim=1),
    "cross_entropy": F.cross_entropy,
    "squared_error": lambda a, b: F.mse_loss(a, b) / 2,
    "relu/scratch": lambda X: torch.max(X, torch.zeros_like(X)),
    "sigmoid/scratch": lambda X: 1 / (1 + torch.exp(-X)),
    "tanh/scratch": lambda X: (1 - torch.exp(-2 * X)) / (1 + torch.exp(-2 * X)),
    "softmax/scratch": _softmax_scratch,
    "log_softmax/scratch": lambda X: torch.log(_softmax_scratch(X)),
    "cross_entropy/scratch": lambda X, y: (
        -torch.log(_softmax_scratch(X)[list(range(len(y))), y]).mean()
    ),
    "squared_error/scratch": lambda a, b: ((a - b) ** 2 / 2).mean(),
}


def value_and_derivatives(
    name: str, *arrays: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Value of the operator, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default; ValueError for another.
    """
    floats = [a.requires_grad_() for a in arrays if a.is_floating_point()]
    value = OPERATORS[name](*arrays)
    weights = torch.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(weights.shape)}, value {tuple(value.shape)}")
    return value.detach(), *torch.autograd.grad(value, floats, weights)
