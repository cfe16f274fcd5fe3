"""logistic-regression in NumPy: 8-1 from the layers beside it.

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy.layers import (
    Chain,
    Dense,
    Sigmoid,
    binary_cross_entropy,
    binary_cross_entropy_grad,
)
from harness.interface import Array, State

LOSS = "binary-cross-entropy"


class Net(Chain):
    """One dense layer and a sigmoid."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(z1=Dense(8, 1, dtype), outputs=Sigmoid())


def loss(Y_hat: Array, y: Array) -> float:
    """Mean binary cross-entropy in nats, each logarithm at least -100. Y_hat, y: (n, 1)."""
    return binary_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.back(binary_cross_entropy_grad(Y_hat, y))


trace = Net.trace

LAYOUT = {"W": ("z1.W",), "b": ("z1.b",)}
