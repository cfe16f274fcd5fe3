"""A dense layer, batch norm, dropout by noise, a dense layer."""

import tensorflow as tf


class Norm(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.gamma, self.beta = (tf.Variable(tf.ones(6, dtype)) for _ in range(2))
        self.mean, self.var = (tf.Variable(tf.ones(6, dtype), trainable=False) for _ in range(2))

    def __call__(self, X, training):
        m, v = self.mean, self.var
        if training:
            n = tf.cast(tf.shape(X)[0], X.dtype)
            m, v = tf.nn.moments(X, 0)
            self.mean.assign(0.9 * self.mean + 0.1 * m)
            self.var.assign(0.9 * self.var + 0.1 * v * n / (n - 1))
        return (X - m) / tf.sqrt(v + 1e-5) * self.gamma + self.beta


class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.W1, self.b1 = tf.Variable(tf.ones((5, 6), dtype)), tf.Variable(tf.ones(6, dtype))
        self.bn = Norm(dtype)
        self.W2, self.b2 = tf.Variable(tf.ones((6, 3), dtype)), tf.Variable(tf.ones(3, dtype))

    def forward(self, X, noise, training):
        H = tf.sigmoid(self.bn(X @ self.W1 + self.b1, training))
        if training:
            H = H * tf.cast(noise["U"] >= 0.25, X.dtype) / 0.75
        return H @ self.W2 + self.b2


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))


def trace(net, X, noise):
    Z = X @ net.W1 + net.b1
    return {"z1": Z, "n1": net.bn(Z, training=True)}


LAYOUT = {
    "gamma": ("bn.gamma",),
    "beta": ("bn.beta",),
    "mean": ("bn.mean",),
    "var": ("bn.var",),
}
