"""mnist-mlp-concise in NumPy: 784-200-200-10 from the layers beside it.

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy.layers import (
    Chain,
    Dense,
    Relu,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net(Chain):
    """Three dense layers, ReLU after every one."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            z1=Dense(784, 200, dtype),
            h1=Relu(),
            z2=Dense(200, 200, dtype),
            h2=Relu(),
            z3=Dense(200, 10, dtype),
            outputs=Relu(),
        )


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: outputs (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.back(softmax_cross_entropy_back(Y_hat, y))


trace = Net.trace

LAYOUT = {
    "W1": ("z1.W",),
    "b1": ("z1.b",),
    "W2": ("z2.W",),
    "b2": ("z2.b",),
    "W3": ("z3.W",),
    "b3": ("z3.b",),
}
