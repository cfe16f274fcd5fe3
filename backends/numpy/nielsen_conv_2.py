"""nielsen-conv-2 in NumPy: two convolutions, one dense layer, sigmoid (Nielsen, chapter 6).

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy import nielsen_ladder as ladder
from backends.numpy.layers import Sigmoid, softmax_cross_entropy, softmax_cross_entropy_back
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Net(ladder.Net):
    """28 x 28 images; 20 and 40 kernels, pooled; dense 100, 10; sigmoid between."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            **ladder.convolution(1, 1, 20, Sigmoid(), dtype),
            **ladder.convolution(2, 20, 40, Sigmoid(), dtype),
            flat=ladder.Flatten(),
            z3=ladder.dense(640, 100, dtype),
            h3=Sigmoid(),
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
    "K1": ("z1.K",),
    "c1": ("s1.c",),
    "K2": ("z2.K",),
    "c2": ("s2.c",),
    "W1": ("z3.W",),
    "b1": ("z3.b",),
    "W2": ("logits.W",),
    "b2": ("logits.b",),
}
