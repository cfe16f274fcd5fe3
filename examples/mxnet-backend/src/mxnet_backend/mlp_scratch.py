"""MLPScratch in MXNet: Dive into Deep Learning 5.2, with attach_grad and autograd.record.

Read it beside the others: same names, same order. May import mxnet only.
"""

from mxnet import autograd, gluon, np, npx


def relu(X: np.ndarray) -> np.ndarray:
    """max(X, 0), elementwise; derivative 0 at 0, NaN passes through."""
    # The book's np.maximum(X, 0) has derivative 1 at 0.
    return npx.relu(X)


class MLPScratch(gluon.Block):
    """One hidden layer: relu(X @ W1 + b1) @ W2 + b2; weights are inputs x outputs."""

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        num_hiddens: int,
        sigma: float = 0.01,
        dtype: str = "float32",
    ) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.num_outputs = num_outputs
        self.num_hiddens = num_hiddens
        self.sigma = sigma
        self.W1 = np.random.normal(0, sigma, (num_inputs, num_hiddens), dtype=dtype)
        self.b1 = np.zeros(num_hiddens, dtype=dtype)
        self.W2 = np.random.normal(0, sigma, (num_hiddens, num_outputs), dtype=dtype)
        self.b2 = np.zeros(num_outputs, dtype=dtype)
        for parameter in (self.W1, self.b1, self.W2, self.b2):
            parameter.attach_grad()

    def forward(self, X: np.ndarray) -> np.ndarray:
        """X: (n, num_inputs) -> logits (n, num_outputs)."""
        H = relu(np.dot(X, self.W1) + self.b1)
        return np.dot(H, self.W2) + self.b2


def loss(Y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, num_outputs), y: int32 (n,)."""
    # As gluon.loss.SoftmaxCrossEntropyLoss, but for the temperature, which is 1 anyway: asked for,
    # it keeps oneDNN out, whose float32 log_softmax (mxnet 1.9.1) is off by some 2e-6 all along a
    # row. That makes b2's gradient thirty times as inexact, and the rung trajectory sees it.
    return -npx.pick(npx.log_softmax(Y_hat, axis=1, temperature=1.0), y).mean()


def loss_and_grads(
    model: MLPScratch, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The mean loss, and its gradient by parameter, left in each parameter's `grad`."""
    params = {"W1": model.W1, "b1": model.b1, "W2": model.W2, "b2": model.b2}
    with autograd.record():
        value = loss(model(X), y)
    value.backward()
    return value, {name: p.grad for name, p in params.items()}
