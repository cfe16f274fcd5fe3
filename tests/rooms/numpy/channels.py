"""One dense layer on channels first: its weights are outputs x (channels, rows, columns)."""

import numpy as np

from backends.numpy.layers import (
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)


class Linear:
    def __init__(self, inputs, outputs, dtype):
        self.weight = np.ones((outputs, inputs), dtype)
        self.bias = np.ones((1, outputs), dtype)

    def __call__(self, X):
        return X @ self.weight.T + self.bias


class Net:
    def __init__(self, dtype):
        self.fc = Linear(24, 3, dtype)

    def forward(self, X):
        assert X.shape[1:] == (2, 3, 4)
        return self.fc(X.reshape(len(X), -1))


LOSS = "softmax-cross-entropy"
loss = softmax_cross_entropy


def loss_and_grads(net, X, y):
    Y_hat = net.forward(X)
    d = softmax_cross_entropy_back(Y_hat, y)
    grads = {"fc.weight": d.T @ X.reshape(len(X), -1), "fc.bias": d.sum(0, keepdims=True)}
    return loss(Y_hat, y), grads


LAYOUT = {
    "x": ("x", (0, 2, 3, 1)),
    "W1": ("fc.weight", (2, 3, 1, 0), (3, 2, 3, 4)),
    "b1": ("fc.bias",),
}
