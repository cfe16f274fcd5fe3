"""MLPScratch in NumPy: Dive into Deep Learning 5.2, forward and backward by hand.

Read it beside the others: same names, same order. Below the lesson stands the same net in place.
May import NumPy and harness.interface.
"""

from typing import Any

import numpy as np

from harness.interface import Array, State

LOSS = "softmax-cross-entropy"


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


def loss_and_grads(model: MLPScratch, X: Array, y: Array) -> tuple[float, State]:
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


Net = MLPScratch


def trace(model: MLPScratch, X: Array) -> State:
    """Every value on the way, by its canonical name."""
    Z = X @ model.W1 + model.b1
    H = relu(Z)
    return {"z1": Z, "h1": H, "logits": H @ model.W2 + model.b2}


class Buffered(MLPScratch):
    """The same model in place, in buffers made once a size."""

    def __init__(self, *sizes: Any, **named: Any) -> None:
        super().__init__(*sizes, **named)
        self._buffers: dict[tuple[str, int], Array] = {}

    def forward(self, X: Array) -> Array:
        """X: (n, num_inputs) -> logits (n, num_outputs), valid until the next call."""
        H = np.matmul(X, self.W1, out=self.buffer("H", len(X)))
        H += self.b1
        H = np.maximum(H, 0, out=H)
        O = np.matmul(H, self.W2, out=self.buffer("O", len(X)))
        O += self.b2
        return O

    def buffer(self, name: str, rows: int) -> Array:
        """The buffer `name` with that many rows, made at its first use."""
        key = name, rows
        if key not in self._buffers:
            columns = self.num_outputs if name in ("O", "gW2") else self.num_hiddens
            self._buffers[key] = np.empty((rows, columns), self.W1.dtype)
        return self._buffers[key]


def buffered_loss_and_grads(
    model: Buffered, X: Array, y: Array, scale: float = 1.0
) -> tuple[float, State]:
    """The mean loss, and `scale` times its gradient by parameter; valid until the next call.

    `scale` is where the learning rate goes in: into the error (n, num_outputs), which is small.
    """
    n = len(X)
    error = model.forward(X)
    value = loss(error, y)
    H, dH = model.buffer("H", n), model.buffer("dH", n)
    # The logits become the error, softmax - one-hot, of the mean.
    error -= error.max(axis=1, keepdims=True)
    np.exp(error, out=error)
    error /= error.sum(axis=1, keepdims=True)
    error[np.arange(n), y] -= 1
    error *= scale / n
    gW2 = np.matmul(H.T, error, out=model.buffer("gW2", model.num_hiddens))
    gb2 = error.sum(axis=0)
    np.matmul(error, model.W2.T, out=dH)
    # ReLU's derivative is 0 where H is 0, and 1 where it is positive or NaN. Multiplying the bits
    # by 0 or 1 selects, whatever dH holds; a masked assignment takes 15 times as long.
    bits = dH.view(f"i{dH.itemsize}")
    bits *= H != 0
    gW1 = np.matmul(X.T, dH, out=model.buffer("gW1", model.num_inputs))
    gb1 = dH.sum(axis=0)
    return value, {"W1": gW1, "b1": gb1, "W2": gW2, "b2": gb2}
