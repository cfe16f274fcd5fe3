"""MLPScratch in NumPy: Dive into Deep Learning 5.2, forward and backward by hand.

Read it beside the others: same names, same order. May import NumPy and harness.interface.
"""

import numpy as np

from harness.interface import Array, Params


def relu(X: Array) -> Array:
    """max(X, 0), elementwise; derivative 0 at 0, NaN passes through."""
    return np.maximum(X, 0)


class MLPScratch:
    """One hidden layer: relu(X @ W1 + b1) @ W2 + b2; weights are inputs x outputs."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int,
        sigma: float = 0.01,
        dtype: str = "float32",
    ) -> None:
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.num_hiddens = num_hiddens
        self.sigma = sigma
        normal = np.random.default_rng().standard_normal
        self.W1 = (normal((num_inputs, num_hiddens)) * sigma).astype(dtype)
        self.b1 = np.zeros(num_hiddens, dtype)
        self.W2 = (normal((num_hiddens, num_outputs)) * sigma).astype(dtype)
        self.b2 = np.zeros(num_outputs, dtype)

    def forward(self, X: Array) -> Array:
        """X: (n, num_inputs) -> logits (n, num_outputs); keeps H for the way back."""
        self.H = relu(X @ self.W1 + self.b1)
        return self.H @ self.W2 + self.b2


def loss(Y_hat: Array, y: Array) -> float:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, num_outputs), y: int (n,)."""
    Z = Y_hat - Y_hat.max(axis=1, keepdims=True)
    log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    return -float(log_P[np.arange(len(y)), y].mean())


def loss_and_grads(model: MLPScratch, X: Array, y: Array) -> tuple[float, Params]:
    """The mean loss, and its gradient by parameter."""
    Y_hat = model.forward(X)
    P = np.exp(Y_hat - Y_hat.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    one_hot = np.eye(model.num_outputs, dtype=P.dtype)[y]
    error = (P - one_hot) / len(X)
    dH = error @ model.W2.T
    dH[model.H == 0] = 0  # where H is NaN, the gradient passes
    grads = {
        "W1": X.T @ dH,
        "b1": dH.sum(axis=0),
        "W2": model.H.T @ error,
        "b2": error.sum(axis=0),
    }
    return loss(Y_hat, y), grads
