"""Layers as single operators, in PyTorch. May import torch only.

Read it beside the others: same names, same order.
X: images float (n, r, c, channels), of a perceptron (1, inputs), of layer norm (n, k); K: kernels
(3, 3, inputs, outputs). Windows are 3 x 3 with stride 2, one row and column padded on each side.
Batch norm is per channel; running statistics keep 0.9 of what they were, and have no gradient.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

# Size, stride and padding of every window; the share that is dropped.
WINDOW = 3, 2, 1
DROPPED = 0.25


def _images(layer: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A layer of images (n, channels, r, c), for images with the channels last."""
    return lambda X, *others: layer(X.permute(0, 3, 1, 2), *others).permute(0, 2, 3, 1)


def _perceptron(X: Tensor, W: Tensor, T: Tensor) -> Tensor:
    """Half the squared error of sigmoid(X @ W) from T."""
    return F.mse_loss(torch.sigmoid(X @ W), T, reduction="sum") / 2


def _conv(X: Tensor, K: Tensor) -> Tensor:
    return F.conv2d(X, K.permute(3, 2, 0, 1), stride=2, padding=1)


def _batch_norm(X: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    """In training: by the batch's own mean and variance."""
    return F.batch_norm(X, None, None, gamma, beta, training=True)


def _batch_norm_evaluation(
    X: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    return F.batch_norm(X, mean.detach(), variance.detach(), gamma, beta)


def _batch_norm_running(X: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Running mean and variance after a step: (2, channels)."""
    running = mean.detach().clone(), variance.detach().clone()
    F.batch_norm(X.detach().permute(0, 3, 1, 2), *running, training=True)
    return torch.stack(running)


LAYERS: dict[str, Callable[..., Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "perceptron": _perceptron,
    "perceptron_two": _perceptron,
    "chain": lambda x, w1, b1, w2, b2: w2 * (w1 * x + b1) + b2,
    "conv": _images(_conv),
    "max_pool": _images(lambda X: F.max_pool2d(X, *WINDOW)),
    "avg_pool": _images(lambda X: F.avg_pool2d(X, *WINDOW)),
    "avg_pool_inside": _images(lambda X: F.avg_pool2d(X, *WINDOW, count_include_pad=False)),
    "batch_norm": _images(_batch_norm),
    "batch_norm_evaluation": _images(_batch_norm_evaluation),
    "batch_norm_running": _batch_norm_running,
    "dropout": lambda X, M: X * M / (1 - DROPPED),
    "layer_norm": lambda X, gamma, beta: F.layer_norm(X, X.shape[-1:], gamma, beta),
}
