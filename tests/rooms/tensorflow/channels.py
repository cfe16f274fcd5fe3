"""One dense layer on channels first: its weights are outputs x (channels, rows, columns)."""

import tensorflow as tf


class Linear(tf.Module):
    def __init__(self, inputs, outputs, dtype):
        super().__init__()
        self.weight = tf.Variable(tf.ones((outputs, inputs), dtype))
        self.bias = tf.Variable(tf.ones((1, outputs), dtype))

    def __call__(self, X):
        return X @ tf.transpose(self.weight) + self.bias


class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.fc = Linear(24, 3, dtype)

    def forward(self, X):
        assert X.shape[1:] == (2, 3, 4)
        return self.fc(tf.reshape(X, (-1, 24)))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))


LAYOUT = {
    "x": ("x", (0, 2, 3, 1)),
    "W1": ("fc.weight", (2, 3, 1, 0), (3, 2, 3, 4)),
    "b1": ("fc.bias",),
}
