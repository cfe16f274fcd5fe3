"""The engine on PyTorch: gradients by autograd."""

from __future__ import annotations

import torch


def array(values, dtype):
    """A copy of an array, as this engine holds it."""
    return torch.tensor(values, dtype=getattr(torch, dtype))


def to_numpy(values):
    """A copy of an array of this engine, NumPy."""
    return values.detach().numpy().copy()


def forward(layers, x):
    """Logits of a batch."""
    for weight, bias in layers[:-1]:
        x = torch.relu(x @ weight + bias)
    weight, bias = layers[-1]
    return x @ weight + bias


def backward(layers, x, y):
    """Mean cross-entropy, and the gradient of each layer's weight and bias."""
    followed = [tuple(part.detach().requires_grad_() for part in layer) for layer in layers]
    labels = torch.as_tensor(y, dtype=torch.int64)
    loss = torch.nn.functional.cross_entropy(forward(followed, x), labels)
    slopes = iter(torch.autograd.grad(loss, [part for layer in followed for part in layer]))
    return loss.item(), list(zip(slopes, slopes, strict=True))


def descend(layers, grads, rate):
    """One step of gradient descent, in place."""
    for (weight, bias), (by_weight, by_bias) in zip(layers, grads, strict=True):
        weight.sub_(rate * by_weight)
        bias.sub_(rate * by_bias)
