"""Single operators by name, in PyTorch: value, and derivatives by autograd. May import torch only.

Read it beside the others: same names, same order. "relu" is the framework's own, "relu/scratch" the
expression of Dive into Deep Learning for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,), of
"matmul" (n, k) and (k, m); P: probabilities (n, k). Softmaxes and entropies (bits) are over a row,
losses means over rows: (), in nats. Layers stand in the file beside this one.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from backends.torch.layer_operators import LAYERS


def _softmax_scratch(X: Tensor) -> Tensor:
    """Without the shift that keeps exp from overflowing."""
    X_exp = torch.exp(X)
    return X_exp / X_exp.sum(1, keepdim=True)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "matmul": lambda A, B: A @ B,
    "step": lambda X: torch.heaviside(X.detach(), torch.zeros_like(X)),  # it has no way back
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softmax": lambda X: F.softmax(X, dim=1),
    "log_softmax": lambda X: F.log_softmax(X, dim=1),
    "cross_entropy": F.cross_entropy,
    "softmax_log_nll": lambda X, y: F.nll_loss(torch.log(F.softmax(X, dim=1)), y),
    "squared_error": lambda a, b: F.mse_loss(a, b) / 2,
    "entropy": lambda P: torch.special.entr(P).sum(1) / math.log(2),
    "sum": torch.sum,
    "mean": torch.mean,
    "norm": torch.linalg.vector_norm,
    "relu/scratch": lambda X: torch.max(X, torch.zeros_like(X)),
    "sigmoid/scratch": lambda X: 1 / (1 + torch.exp(-X)),
    "tanh/scratch": lambda X: (1 - torch.exp(-2 * X)) / (1 + torch.exp(-2 * X)),
    "softmax/scratch": _softmax_scratch,
    "log_softmax/scratch": lambda X: torch.log(_softmax_scratch(X)),
    "cross_entropy/scratch": lambda X, y: (
        -torch.log(_softmax_scratch(X)[list(range(len(y))), y]).mean()
    ),
    "squared_error/scratch": lambda a, b: ((a - b) ** 2 / 2).mean(),
    **LAYERS,
}


def value_and_derivatives(
    function: Callable[..., Tensor], *arrays: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Value of the function, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default; ValueError for another.
    """
    floats = [a.requires_grad_() for a in arrays if a.is_floating_point()]
    value = function(*arrays)
    weights = torch.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(weights.shape)}, value {tuple(value.shape)}")
    if not value.requires_grad:  # torch has no way back to any argument: the derivatives are 0
        return value, *map(torch.zeros_like, floats)
    grads = torch.autograd.grad(value, floats, weights, materialize_grads=True)
    return value.detach(), *grads
