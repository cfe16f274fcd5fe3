"""Single operators by name, in MXNet: value, and derivatives by autograd. May import mxnet only.

Read it beside the others: same names, same order. `OPERATORS` are the framework's own,
`SCRATCH` the expressions of Dive into Deep Learning, for the same mathematics.
X: float of any shape, or logits float (n, k) where rows matter; y: int (n,); a, b: float (n,).
"""

from collections.abc import Callable

from mxnet import autograd, gluon, np, npx


def matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return np.dot(a, b)


def relu(X: np.ndarray) -> np.ndarray:
    """max(X, 0)."""
    return npx.relu(X)


def sigmoid(X: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-X))."""
    return npx.sigmoid(X)


def tanh(X: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent."""
    return np.tanh(X)


def softmax(X: np.ndarray) -> np.ndarray:
    """exp(X) over its row's sum: (n, k)."""
    return npx.softmax(X, axis=1)


def log_softmax(X: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax: (n, k)."""
    return npx.log_softmax(X, axis=1)


def cross_entropy(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean over rows of -log softmax(X)[row, y[row]], in nats: ()."""
    return gluon.loss.SoftmaxCrossEntropyLoss()(X, y).mean()


def squared_error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean of (a - b)² / 2: ()."""
    return gluon.loss.L2Loss()(a, b).mean()


def relu_scratch(X: np.ndarray) -> np.ndarray:
    """The larger of X and 0."""
    return np.maximum(X, 0)


def sigmoid_scratch(X: np.ndarray) -> np.ndarray:
    """As written in the book."""
    return 1 / (1 + np.exp(-X))


def tanh_scratch(X: np.ndarray) -> np.ndarray:
    """As written in the book."""
    return (1 - np.exp(-2 * X)) / (1 + np.exp(-2 * X))


def softmax_scratch(X: np.ndarray) -> np.ndarray:
    """Without the shift that keeps exp from overflowing."""
    X_exp = np.exp(X)
    return X_exp / X_exp.sum(1, keepdims=True)


def log_softmax_scratch(X: np.ndarray) -> np.ndarray:
    """Logarithm of the softmax above."""
    return np.log(softmax_scratch(X))


def cross_entropy_scratch(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """From the softmax above."""
    return -np.log(softmax_scratch(X)[list(range(len(y))), y]).mean()


def squared_error_scratch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """As written in the book."""
    return ((a - b) ** 2 / 2).mean()


OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "matmul": matmul,
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "cross_entropy": cross_entropy,
    "squared_error": squared_error,
}
SCRATCH: dict[str, Callable[..., np.ndarray]] = {
    "relu/scratch": relu_scratch,
    "sigmoid/scratch": sigmoid_scratch,
    "tanh/scratch": tanh_scratch,
    "softmax/scratch": softmax_scratch,
    "log_softmax/scratch": log_softmax_scratch,
    "cross_entropy/scratch": cross_entropy_scratch,
    "squared_error/scratch": squared_error_scratch,
}


def value_and_derivatives(
    name: str, *arrays: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """Value of the operator, then the derivative of sum(weights * value) by each float argument.

    weights: the value's shape, all ones by default. Raises ValueError for an unknown name, or for
    weights of another shape.
    """
    known = OPERATORS | SCRATCH
    if name not in known:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(known)}")
    floats = [a for a in arrays if a.dtype.kind == "f"]
    for a in floats:
        a.attach_grad()
    with autograd.record():
        value = known[name](*arrays)
    weights = np.ones_like(value) if weights is None else weights
    if weights.shape != value.shape:
        raise ValueError(f"weights: shape {weights.shape}, value {value.shape}")
    value.backward(weights)
    return value, *(a.grad for a in floats)
