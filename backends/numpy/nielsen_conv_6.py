"""nielsen-conv-6 in NumPy: two wide dense layers, dropout (Nielsen, chapter 6).

May import NumPy, the layers beside it and harness.interface.
"""

from backends.numpy import nielsen_ladder as ladder
from backends.numpy.layers import Relu, softmax_cross_entropy, softmax_cross_entropy_back
from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


class Dropout:
    """Half of the inputs become 0 and the others twice as large, wherever U says so."""

    def forward(self, X: Array) -> Array:
        return X * self.factor

    def back(self, d: Array, _: Array) -> Array:
        return d * self.factor

    def draw(self, U: Array, *, training: bool) -> None:
        """U: uniform, of the inputs' shape; in evaluation nothing is dropped."""
        self.factor = (U >= 0.5) / U.dtype.type(0.5) if training else U.dtype.type(1)


class Net(ladder.Net):
    """28 x 28 images; 20 and 40 kernels, pooled; dense 1000, 1000, 10; ReLU between, dropout."""

    def __init__(self, dtype: str = "float32") -> None:
        self.drops = {"drop1": Dropout(), "drop2": Dropout(), "drop3": Dropout()}
        super().__init__(
            **ladder.convolution(1, 1, 20, Relu(), dtype),
            **ladder.convolution(2, 20, 40, Relu(), dtype),
            flat=ladder.Flatten(),
            d2=self.drops["drop1"],
            z3=ladder.dense(640, 1000, dtype),
            h3=Relu(),
            d3=self.drops["drop2"],
            z4=ladder.dense(1000, 1000, dtype),
            h4=Relu(),
            d4=self.drops["drop3"],
            logits=ladder.softmax(1000, dtype),
        )

    def forward(self, X: Array, noise: State | None = None, *, training: bool = True) -> Array:
        """X: (n, 28, 28, 1), noise: uniform, by name -> logits (n, 10)."""
        for name, U in (noise or {}).items():
            self.drops[name].draw(U, training=training)
        return super().forward(X)


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int (n,)."""
    return softmax_cross_entropy(Y_hat, y)


def loss_and_grads(net: Net, X: Array, y: Array, noise: State) -> tuple[float, State]:
    """The mean loss, and its gradient by each tensor."""
    Y_hat = net.forward(X, noise)
    return loss(Y_hat, y), net.back(softmax_cross_entropy_back(Y_hat, y))


trace = Net.trace

LAYOUT = {
    "K1": ("z1.K",),
    "c1": ("s1.c",),
    "K2": ("z2.K",),
    "c2": ("s2.c",),
    "W1": ("z3.W",),
    "b1": ("z3.b",),
    "W2": ("z4.W",),
    "b2": ("z4.b",),
    "W3": ("logits.W",),
    "b3": ("logits.b",),
}
