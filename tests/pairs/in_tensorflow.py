"""Functions of TensorFlow's tensors."""

from __future__ import annotations

import tensorflow as tf


def softmax(x):
    return tf.nn.softmax(x)


def gelu(x):
    return tf.nn.gelu(x, approximate=True)
