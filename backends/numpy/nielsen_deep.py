"""nielsen-deep in NumPy: Nielsen, chapter 5 from the layers beside it.

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy.layers import Chain, Dense, Sigmoid, one_hot, quadratic, quadratic_back
from harness.interface import Array, State

LOSS = "quadratic"


class Net(Chain):
    """784-30-30-30-10, a sigmoid after each layer."""

    def __init__(self, dtype: str = "float32") -> None:
        super().__init__(
            z1=Dense(784, 30, dtype, w=784**-0.5, b=1),
            h1=Sigmoid(),
            z2=Dense(30, 30, dtype, w=30**-0.5, b=1),
            h2=Sigmoid(),
            z3=Dense(30, 30, dtype, w=30**-0.5, b=1),
            h3=Sigmoid(),
            z4=Dense(30, 10, dtype, w=30**-0.5, b=1),
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
    "W3": ("z3.W",),
    "b3": ("z3.b",),
    "W4": ("z4.W",),
    "b4": ("z4.b",),
}
