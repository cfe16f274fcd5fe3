"""The same in PyTorch: its own ε is 1e-5, this one's is not."""

from torch.nn import functional as F


def layer_norm(x, weight, bias):
    """Over the last axis: x (n, k), weight and bias (k,) -> (n, k)."""
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps=1e-6)


def softmax(x):
    """Over the last axis."""
    return F.softmax(x, dim=-1)
