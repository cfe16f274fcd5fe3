"""Two dense layers."""

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
        self.fc1, self.fc2 = Linear(5, 4, dtype), Linear(4, 3, dtype)

    def forward(self, X):
        return self.fc2(tf.sigmoid(self.fc1(X)))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))


LAYOUT = {
    "W1": ("fc1.weight", (1, 0)),
    "b1": ("fc1.bias",),
    "W2": ("fc2.weight", (1, 0)),
    "b2": ("fc2.bias",),
}
