"""What the steps of Nielsen's convolutional ladder share in PyTorch (chapter 6).

Read it beside the others: same names, same order. May import torch only.
"""

from typing import Any

import torch
from torch import Tensor, nn

Layers = dict[str, nn.Module]
Table = dict[str, tuple[Any, ...]]


class Bias(nn.Module):
    """One number a channel, added to images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(channels, 1, 1))

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, channels, rows, columns) -> the same shape."""
        return X + self.bias


class Flatten(nn.Module):
    """Pixel by pixel, which is the order of a dropout's noise; nn.Flatten's is by channels."""

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, channels, rows, columns) -> (n, rows · columns · channels)."""
        return X.permute(0, 2, 3, 1).flatten(1)


class Dropout(nn.Module):
    """In training a unit is kept where its noise is .5 or more, and doubled."""

    def forward(self, X: Tensor, U: Tensor) -> Tensor:
        """X, U: (n, units) -> (n, units)."""
        return X * (U >= 0.5) / 0.5 if self.training else X


def convolution(number: int, inputs: int, outputs: int, activation: nn.Module) -> Layers:
    """5 x 5, pooled by 2, then the bias and the activation."""
    conv = nn.Conv2d(inputs, outputs, 5, bias=False)
    nn.init.normal_(conv.weight, std=(4 / (25 * outputs)) ** 0.5)
    pool, bias = nn.MaxPool2d(2), Bias(outputs)
    return dict(zip((f"{v}{number}" for v in "zpsh"), (conv, pool, bias, activation), strict=True))


def dense(number: int, inputs: int, outputs: int, activation: nn.Module) -> Layers:
    """All to all, then the activation."""
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=outputs**-0.5)
    nn.init.normal_(linear.bias)
    return {f"z{number}": linear, f"h{number}": activation}


def softmax(inputs: int) -> Layers:
    """The last layer, which starts at 0; the softmax itself is the loss's."""
    linear = nn.Linear(inputs, 10)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return {"logits": linear}


def l2(parameters: dict[str, Tensor], factor: float) -> Tensor:
    """Half of factor · Σ w² over kernels and weights; biases are left out."""
    weights = (w for name, w in parameters.items() if name.endswith("weight"))
    return factor / 2 * sum(w.square().sum() for w in weights)


def layout(convolutions: int, hidden: int, split: tuple[int, ...] = ()) -> Table:
    """Where the tensors lie; split: the first dense layer's weights, outputs x images."""
    table: Table = {"x": ("x", (0, 2, 3, 1))} if convolutions else {}
    for k in range(1, convolutions + 1):
        table |= {f"K{k}": (f"z{k}.weight", (2, 3, 1, 0)), f"c{k}": (f"s{k}.bias",)}
    for k in range(1, hidden + 2):
        name = f"z{convolutions + k}" if k <= hidden else "logits"
        table |= {f"W{k}": (f"{name}.weight", (1, 0)), f"b{k}": (f"{name}.bias",)}
    return table | ({"W1": (table["W1"][0], (2, 3, 1, 0), split)} if split else {})


def traced(convolutions: int, hidden: int) -> Table:
    """The layers by the names of their values, which are theirs too."""
    images = [f"{v}{k}" for k in range(1, convolutions + 1) for v in "zpsh"]
    units = [f"{v}{convolutions + k}" for k in range(1, hidden + 1) for v in "zh"]
    return {name: (name, (0, 2, 3, 1)) for name in images} | {name: (name,) for name in units}
