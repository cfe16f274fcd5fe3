"""Single operators by name, in PyTorch: value, and derivatives by autograd. May import torch only.

Read it beside the others: same names, same order. `OPERATORS` are the framework's own,
`SCRATCH` the expressions of Dive into Deep Learning, for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


def relu(X: Tensor) -> Tensor:
    """max(X, 0)."""
    return torch.relu(X)


def sigmoid(X: Tensor) -> Tensor:
    """1 / (1 + exp(-X))."""
    return torch.sigmoid(X)


def tanh(X: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return torch.tanh(X)


def softmax(X: Tensor) -> Tensor:
    """exp(X) over its row's sum: (n, k)."""
    return F.softmax(X, dim=1)


def log_softmax(X: Tensor) -> Tensor:
    """Logarithm of the softmax: (n, k)."""
    return F.log_softmax(X, dim=1)


def cross_entropy(X: Tensor, y: Tensor) -> Tensor:
    """Mean over rows of -log softmax(X)[row, y[row]], in nats: ()."""
    return F.cross_entropy(X, y)


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Mean of (a - b)² / 2: ()."""
    return F.mse_loss(a, b) / 2


def relu_scratch(X: Tensor) -> Tensor:
    """The larger of X and zeros."""
    return torch.max(X, torch.zeros_like(X))


def sigmoid_scratch(X: Tensor) -> Tensor:
    """As written in the book."""
    return 1 / (1 + torch.exp(-X))


def tanh_scratch(X: Tensor) -> Tensor:
    """As written in the book."""
    return (1 - torch.exp(-2 * X)) / (1 + torch.exp(-2 * X))


def softmax_scratch(X: Tensor) -> Tensor:
    """Without the shift that keeps exp from overflowing."""
    X_exp = torch.exp(X)
    return X_exp / X_exp.sum(1, keepdim=True)


def log_softmax_scratch(X: Tensor) -> Tensor:
    """Logarithm of the softmax above."""
    return torch.log(softmax_scratch(X))


def cross_entropy_scratch(X: Tensor, y: Tensor) -> Tensor:
    """From the softmax above."""
    return -torch.log(softmax_scratch(X)[list(range(len(y))), y]).mean()


def squared_error_scratch(a: Tensor, b: Tensor) -> Tensor:
    """As written in the book."""
    return ((a - b) ** 2 / 2).mean()


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "matmul": matmul,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}
SCRATCH: dict[str, Callable[..., Tensor]] = {
    "relu/scratch": relu_scratch,
    "sigmoid/scratch": sigmoid_scratch,
    "tanh/scratch": tanh_scratch,
    "softmax/scratch": softmax_scratch,
    "log_softmax/scratch": log_softmax_scratch,
    "cross_entropy/scratch": cross_entropy_scratch,
    "squared_error/scratch": squared_error_scratch,
}


def value_and_derivatives(
    name: str, *arrays: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Value of the operator, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default. Raises ValueError for an unknown name, or for
    weights of another shape.
    """
    known = OPERATORS | SCRATCH
    if name not in known:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(known)}")
    floats = [a.requires_grad_() for a in arrays if a.is_floating_point()]
    value = known[name](*arrays)
    weights = torch.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {tuple(weights.shape)}, value {tuple(value.shape)}")
    return value.detach(), *torch.autograd.grad(value, floats, weights)
