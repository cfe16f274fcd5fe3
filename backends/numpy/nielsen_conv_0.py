"""nielsen-conv-0 in NumPy: where the ladder starts, without convolution (Nielsen, chapter 6).

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy import nielsen_ladder as ladder
from backends.numpy.layers import Sigmoid, softmax_cross_entropy, softmax_cross_entropy_back
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net(ladder.Net):
    """784-100-10, a sigmoid between."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            z1=ladder.dense(784, 100, dtype),
            h1=Sigmoid(),
            logits=ladder.softmax(100, dtype),
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
