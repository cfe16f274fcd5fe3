"""resnet34 in PyTorch: 34 layers, residual blocks, batch norm.

Read it beside the others: same names, same order. May import torch only.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = "softmax-cross-entropy"


class Shape(NamedTuple):
    """What a block makes of what; the first of its layer has a shortcut with a convolution."""

    inputs: int
    outputs: int
    stride: int
    first: bool


BLOCKS = {
    f"l{layer}b{k}": Shape(outputs if k else inputs, outputs, 1 if k else stride, k == 0)
    for layer, (blocks, inputs, outputs, stride) in enumerate(
        ((3, 64, 64, 1), (4, 64, 128, 2), (6, 128, 256, 2), (3, 256, 512, 2)), 1
    )
    for k in range(blocks)
}


class Block(nn.Module):
    """Two convolutions and the shortcut, added; the ReLU after that is the network's."""

    def __init__(self, inputs: int, outputs: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if first:
            self.shortcut.append(nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(outputs))

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, inputs, rows, columns) -> (n, outputs, rows / stride, columns / stride)."""
        H = self.relu(self.bn1(self.conv1(X)))
        return self.bn2(self.conv2(H)) + self.shortcut(X)


class Net(nn.Module):
    """Each pixel enlarged to 7 x 7, then the network for images of 224 x 224."""

    def __init__(self) -> None:
        super().__init__()
        self.enlarge = nn.Upsample(scale_factor=7)
        self.conv = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        blocks = ((Block(*shape), nn.ReLU()) for shape in BLOCKS.values())
        self.blocks = nn.Sequential(*(module for pair in blocks for module in pair))
        self.average = nn.AvgPool2d(7)
        self.fc = nn.Linear(512, 1000)

    def forward(self, X: Tensor) -> Tensor:
        """X: (n, 3, 32, 32) -> logits (n, 1000)."""
        H = self.relu(self.bn(self.conv(self.enlarge(X))))
        H = self.blocks(self.pool(H))
        return self.fc(torch.flatten(self.average(H), 1))


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 1000), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


KERNEL, IMAGES = (2, 3, 1, 0), (0, 2, 3, 1)

# The convolutions of a block, each with its batch norm; a last one where there is a shortcut.
PARTS = {"1": ("conv1", "bn1"), "2": ("conv2", "bn2"), "s": ("shortcut.0", "shortcut.1")}


def _layout() -> dict[str, tuple[Any, ...]]:
    table: dict[str, tuple[Any, ...]] = {
        "x": ("x", IMAGES),
        "pre.K": ("conv.weight", KERNEL),
        "pre.gamma": ("bn.weight",),
        "pre.beta": ("bn.bias",),
        "pre.mean": ("bn.running_mean",),
        "pre.var": ("bn.running_var",),
        "W": ("fc.weight", (1, 0)),
        "b": ("fc.bias",),
    }
    for k, block in enumerate(BLOCKS):
        for part, (conv, bn) in PARTS.items():
            at = f"blocks.{2 * k}.{bn}"
            table |= {
                f"{block}.K{part}": (f"blocks.{2 * k}.{conv}.weight", KERNEL),
                f"{block}.g{part}": (f"{at}.weight",),
                f"{block}.b{part}": (f"{at}.bias",),
                f"{block}.mean{part}": (f"{at}.running_mean",),
                f"{block}.var{part}": (f"{at}.running_var",),
            }
    return table


def _traced() -> dict[str, str]:
    found = {"e0": "enlarge", "z1": "conv", "n1": "bn", "h1": "relu", "p1": "pool"}
    for k, (block, shape) in enumerate(BLOCKS.items()):
        at = f"blocks.{2 * k}"
        for part, (conv, bn) in PARTS.items():
            if part != "s" or shape.first:
                found |= {f"{block}.z{part}": f"{at}.{conv}", f"{block}.n{part}": f"{at}.{bn}"}
        found |= {f"{block}.h1": f"{at}.relu", f"r{k + 2}": at, f"h{k + 2}": f"blocks.{2 * k + 1}"}
    return found | {"p17": "average"}


LAYOUT = _layout()
TRACE = {name: (module, IMAGES) for name, module in _traced().items()}
