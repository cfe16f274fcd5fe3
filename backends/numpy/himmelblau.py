"""himmelblau in NumPy: f(u, v) = (u² + v - 11)² + (u + v² - 7)², its gradient by hand.

May import NumPy and harness.interface.
"""

import numpy as np

from harness.interface import Array, State

LOSS = "output"


class Net:
    """The point x = (u, v) that is searched, and f there."""

    def __init__(self, dtype: str = "float32") -> None:
        self.x = np.zeros(2, dtype)

    def forward(self, X: Array) -> Array:
        """X: blank (n,) -> f (n, 1), the same in each row; keeps the residuals for the way back."""
        u, v = self.x
        self.q1 = np.stack([u * u + v - 11, u + v * v - 7])
        return np.full((len(X), 1), (self.q1 * self.q1).sum())


def loss(Y_hat: Array) -> float:
    """The mean of the outputs (n, 1): there are no targets."""
    return float(Y_hat.mean())


def loss_and_grads(net: Net, X: Array) -> tuple[float, State]:
    """The value of f, and its gradient by x."""
    value = loss(net.forward(X))
    (u, v), (q, r) = net.x, net.q1
    return value, {"x": 2 * np.stack([2 * u * q + r, q + 2 * v * r])}


def trace(net: Net, X: Array) -> State:
    """The residuals (n, 2) and f (n, 1), by their canonical names."""
    outputs = net.forward(X)
    return {"q1": np.tile(net.q1, (len(X), 1)), "outputs": outputs}
