"""Two dense layers."""

import numpy as np

from backends.numpy.layers import (
    sigmoid,
    sigmoid_back,
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
        self.fc1, self.fc2 = Linear(5, 4, dtype), Linear(4, 3, dtype)

    def forward(self, X):
        self.H = sigmoid(self.fc1(X))
        return self.fc2(self.H)


LOSS = "softmax-cross-entropy"
loss = softmax_cross_entropy


def loss_and_grads(net, X, y):
    Y_hat = net.forward(X)
    d2 = softmax_cross_entropy_back(Y_hat, y)
    d1 = sigmoid_back(d2 @ net.fc2.weight, net.H)
    return loss(Y_hat, y), {
        "fc1.weight": d1.T @ X,
        "fc1.bias": d1.sum(0, keepdims=True),
        "fc2.weight": d2.T @ net.H,
        "fc2.bias": d2.sum(0, keepdims=True),
    }


LAYOUT = {
    "W1": ("fc1.weight", (1, 0)),
    "b1": ("fc1.bias",),
    "W2": ("fc2.weight", (1, 0)),
    "b2": ("fc2.bias",),
}
