"""nielsen-cross-entropy in NumPy: Nielsen, chapter 3 from the layers beside it.

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy.layers import (
    Chain,
    Dense,
    Sigmoid,
    one_hot,
    sigmoid_cross_entropy,
    sigmoid_cross_entropy_back,
)
from harness.interface import Array, State

LOSS = "sigmoid-cross-entropy"


class Net(Chain):
    """784-num_hiddens-10, a sigmoid between; the one at the end is in the loss."""

    def __init__(self, num_hiddens: int, dtype: str = "float32") -> None:
        super().__init__(
            z1=Dense(784, num_hiddens, dtype, w=784**-0.5, b=1),
            h1=Sigmoid(),
            logits=Dense(num_hiddens, 10, dtype, w=num_hiddens**-0.5, b=1),
        )


def loss(Y_hat: Array, y: Array) -> float:
    """Mean of ten sigmoids' summed cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return sigmoid_cross_entropy(Y_hat, one_hot(y, Y_hat))


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.back(sigmoid_cross_entropy_back(Y_hat, one_hot(y, Y_hat)))


trace = Net.trace

LAYOUT = {
    "W1": ("z1.W",),
    "b1": ("z1.b",),
    "W2": ("logits.W",),
    "b2": ("logits.b",),
}
