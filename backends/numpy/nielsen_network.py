"""nielsen-network in NumPy: Nielsen, chapter 1 from the layers beside it.

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy.layers import Chain, Dense, Sigmoid, one_hot, quadratic, quadratic_back
from harness.interface import Array, State

LOSS = "quadratic"


class Net(Chain):
    """784-num_hiddens-10, a sigmoid after each layer."""

    def __init__(self, num_hiddens: int, dtype: str = "float32") -> None:
        super().__init__(
            z1=Dense(784, num_hiddens, dtype, w=1, b=1),
            h1=Sigmoid(),
            z2=Dense(num_hiddens, 10, dtype, w=1, b=1),
            outputs=Sigmoid(),
        )


def loss(Y_hat: Array, y: Array) -> float:
    """Mean of half the squared distance to one-hot. Y_hat: outputs (n, 10), y: int (n,)."""
    return quadratic(Y_hat, one_hot(y, Y_hat))


def loss_and_grads(net: Net, X: Array, y: Array) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X)
    return loss(Y_hat, y), net.back(quadratic_back(Y_hat, one_hot(y, Y_hat)))


trace = Net.trace

LAYOUT = {
    "W1": ("z1.W",),
    "b1": ("z1.b",),
    "W2": ("z2.W",),
    "b2": ("z2.b",),
}
