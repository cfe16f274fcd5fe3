"""A dense layer, batch norm, dropout by noise, a dense layer."""

import numpy as np

from backends.numpy.layers import (
    sigmoid,
    sigmoid_back,
    softmax_cross_entropy,
    softmax_cross_entropy_back,
)


class Norm:
    def __init__(self, dtype):
        self.gamma, self.beta, self.mean, self.var = np.ones((4, 6), dtype)

    def forward(self, X, training):
        m, v, n = self.mean, self.var, len(X)
        if training:
            m, v = X.mean(0), X.var(0)
            self.mean = 0.9 * self.mean + 0.1 * m
            self.var = 0.9 * self.var + 0.1 * v * n / (n - 1)
        self.scale = np.sqrt(v + 1e-5)
        self.unit = (X - m) / self.scale
        return self.unit * self.gamma + self.beta

    def back(self, d):
        d = d * self.gamma
        return (d - d.mean(0) - self.unit * (d * self.unit).mean(0)) / self.scale


class Net:
    def __init__(self, dtype):
        self.W1, self.b1 = np.ones((5, 6), dtype), np.ones(6, dtype)
        self.bn = Norm(dtype)
        self.W2, self.b2 = np.ones((6, 3), dtype), np.ones(3, dtype)

    def forward(self, X, noise, training):
        self.z1 = X @ self.W1 + self.b1
        self.n1 = self.bn.forward(self.z1, training)
        self.s1 = sigmoid(self.n1)
        self.mask = (noise["U"] >= 0.25) / self.W1.dtype.type(0.75) if training else 1
        self.h1 = self.s1 * self.mask
        return self.h1 @ self.W2 + self.b2


LOSS = "softmax-cross-entropy"
loss = softmax_cross_entropy


def loss_and_grads(net, X, y, noise):
    Y_hat = net.forward(X, noise, training=True)
    d2 = softmax_cross_entropy_back(Y_hat, y)
    n1 = sigmoid_back(d2 @ net.W2.T * net.mask, net.s1)
    d1 = net.bn.back(n1)
    return loss(Y_hat, y), {
        "W1": X.T @ d1,
        "b1": d1.sum(0),
        "bn.gamma": (n1 * net.bn.unit).sum(0),
        "bn.beta": n1.sum(0),
        "W2": net.h1.T @ d2,
        "b2": d2.sum(0),
    }


def trace(net, X, noise):
    net.forward(X, noise, training=True)
    return {"z1": net.z1, "n1": net.n1}


LAYOUT = {
    "gamma": ("bn.gamma",),
    "beta": ("bn.beta",),
    "mean": ("bn.mean",),
    "var": ("bn.var",),
}
