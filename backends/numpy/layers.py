"""What other frameworks bring along and NumPy does not: layers and losses, and their ways back.

For the nets of this room and for a user's own; those of images stand beside it. May import NumPy
and harness.interface. d: what came back to a layer, of its value's shape.
"""

from typing import Protocol

import numpy as np

from harness.interface import Array, State

# Where binary cross-entropy clamps its logarithms, from below, as torch does.
LEAST_LOG = -100


def relu(Z: Array) -> Array:
    """max(Z, 0), elementwise; derivative 0 at 0, NaN passes through."""
    return np.maximum(Z, 0)


def relu_back(d: Array, H: Array) -> Array:
    """H: what relu gave -> the gradient by Z; where H is NaN, it passes."""
    return np.where(H == 0, 0, d)


def sigmoid(Z: Array) -> Array:
    """1 / (1 + exp(-Z)), elementwise; 0 where exp overflows."""
    return 1 / (1 + np.exp(-Z))


def sigmoid_back(d: Array, A: Array) -> Array:
    """A: what sigmoid gave -> the gradient by Z."""
    return d * A * (1 - A)


class Layer(Protocol):
    """What a chain is made of: a value, and the way back from that value H."""

    def forward(self, X: Array, /) -> Array: ...

    def back(self, d: Array, H: Array, /) -> Array: ...


class Learnt:
    """A layer with tensors: a chain asks for the gradient by each. X: what the layer was given."""

    def grads(self, X: Array, d: Array, /) -> State:
        raise NotImplementedError


class Relu:
    """`relu` as a layer of a chain."""

    forward, back = staticmethod(relu), staticmethod(relu_back)


class Sigmoid:
    """`sigmoid` as a layer of a chain."""

    forward, back = staticmethod(sigmoid), staticmethod(sigmoid_back)


class Dense(Learnt):
    """X @ W + b; at first normal, of scales w and b; where these are 0, as in torch."""

    def __init__(self, inputs: int, outputs: int, dtype: str, w: float = 0, b: float = 0) -> None:
        rng, most = np.random.default_rng(), inputs**-0.5
        drawn = (
            rng.normal(0, scale, shape) if scale else rng.uniform(-most, most, shape)
            for scale, shape in ((w, (inputs, outputs)), (b, (outputs,)))
        )
        self.W, self.b = (start.astype(dtype) for start in drawn)

    def forward(self, X: Array) -> Array:
        return X @ self.W + self.b

    def back(self, d: Array, _: Array) -> Array:
        return d @ self.W.T

    def grads(self, X: Array, d: Array) -> State:
        return {"W": X.T @ d, "b": d.sum(axis=0)}


class Chain:
    """Layers one after another, called as their values: Chain(z1=Dense(...), h1=Relu(), ...)."""

    def __init__(self, **layers: Layer) -> None:
        self.layers = layers
        vars(self).update(layers)

    def forward(self, X: Array) -> Array:
        """X: (n, inputs) -> the last value (n, outputs); keeps every value for the way back."""
        self.values = [X]
        for layer in self.layers.values():
            self.values.append(layer.forward(self.values[-1]))
        return self.values[-1]

    def back(self, d: Array) -> State:
        """d: the gradient by the last value -> that by each tensor, called "z1.W", "z1.b", ..."""
        grads: State = {}
        for place, (name, layer) in reversed([*enumerate(self.layers.items())]):
            own = layer.grads(self.values[place], d) if isinstance(layer, Learnt) else {}
            grads |= {f"{name}.{tensor}": grad for tensor, grad in own.items()}
            d = layer.back(d, self.values[place + 1]) if place else d  # none by X is asked for
        return grads

    def trace(self, X: Array) -> State:
        self.forward(X)
        return dict(zip(self.layers, self.values[1:], strict=True))


def softmax_cross_entropy(Y_hat: Array, y: Array) -> float:
    """The mean in nats. Y_hat: logits (n, classes), y: int (n,)."""
    Z = Y_hat - Y_hat.max(axis=1, keepdims=True)
    log_P = Z - np.log(np.exp(Z).sum(axis=1, keepdims=True))
    return -float(log_P[np.arange(len(y)), y].mean())


def softmax_cross_entropy_back(Y_hat: Array, y: Array) -> Array:
    """Its gradient by the logits: softmax less one at the label, over n."""
    E = np.exp(Y_hat - Y_hat.max(axis=1, keepdims=True))
    E /= E.sum(axis=1, keepdims=True)
    E[np.arange(len(y)), y] -= 1
    return E / len(y)


def binary_cross_entropy(A: Array, y: Array) -> float:
    """The mean over the samples in nats, each logarithm at least -100. A: of sigmoid, y: (n, 1)."""
    log_A, log_not_A = (np.maximum(log, LEAST_LOG) for log in (np.log(A), np.log1p(-A)))
    return -float((y * log_A + (1 - y) * log_not_A).mean())


def binary_cross_entropy_back(A: Array, y: Array) -> Array:
    """Its gradient by what sigmoid was given; a logarithm that is clamped has none."""
    positive = np.where(np.log(A) < LEAST_LOG, 0, y * (1 - A))
    negative = np.where(np.log1p(-A) < LEAST_LOG, 0, (1 - y) * A)
    return (negative - positive) / len(y)


def binary_cross_entropy_grad(A: Array, y: Array) -> Array:
    """Its gradient by A itself; a logarithm that is clamped has none."""
    positive = np.where(np.log(A) < LEAST_LOG, 0, y / A)
    negative = np.where(np.log1p(-A) < LEAST_LOG, 0, (1 - y) / (1 - A))
    return (negative - positive) / len(y)


def one_hot(y: Array, Y_hat: Array) -> Array:
    """y: int (n,) -> 1 at the class, as Y_hat is: (n, classes)."""
    return np.eye(Y_hat.shape[1], dtype=Y_hat.dtype)[y]


def sigmoid_cross_entropy(Y_hat: Array, Y: Array) -> float:
    """Summed over the outputs, the mean over the samples. Y_hat: logits, Y: both (n, outputs)."""
    return float((Y * np.logaddexp(0, -Y_hat) + (1 - Y) * np.logaddexp(0, Y_hat)).sum()) / len(Y)


def sigmoid_cross_entropy_back(Y_hat: Array, Y: Array) -> Array:
    """Its gradient by the logits."""
    return (sigmoid(Y_hat) - Y) / len(Y)


def quadratic(A: Array, Y: Array) -> float:
    """|A - Y|² / 2, the mean over the samples; A, Y: (n, outputs)."""
    return float(np.square(A - Y).sum()) / 2 / len(Y)


def quadratic_back(A: Array, Y: Array) -> Array:
    """Its gradient by A."""
    return (A - Y) / len(Y)
