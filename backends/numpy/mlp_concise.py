"""mlp-concise in NumPy: Dive into Deep Learning 5.2 from the layers beside it.

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
    """784-num_hiddens-10, ReLU between; the biases start as in torch."""

    def __init__(self, num_hiddens: int, dtype: str = "float32") -> None:
        super().__init__(
            z1=Dense(784, num_hiddens, dtype, w=0.01),
            h1=Relu(),
            logits=Dense(num_hiddens, 10, dtype, w=0.01),
        )


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.back(softmax_cross_entropy_back(Y_hat, y))


trace = Net.trace

LAYOUT = {
    "W1": ("z1.W",),
    "b1": ("z1.b",),
    "W2": ("logits.W",),
    "b2": ("logits.b",),
}
