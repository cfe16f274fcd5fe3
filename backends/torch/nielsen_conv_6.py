"""nielsen-conv-6 in PyTorch: two wide dense layers, dropout.

Read it beside the others: same names, same order. May import torch only.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from backends.torch.nielsen_ladder import (
    Dropout,
    Flatten,
    convolution,
    dense,
    layout,
    softmax,
    traced,
)

LOSS = "softmax-cross-entropy"


class Net(nn.Sequential):
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 1000 -> 1000 -> 10."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                **convolution(1, 1, 20, nn.ReLU()),
                **convolution(2, 20, 40, nn.ReLU()),
                flatten=Flatten(),
                d2=Dropout(),
                **dense(3, 640, 1000, nn.ReLU()),
                d3=Dropout(),
                **dense(4, 1000, 1000, nn.ReLU()),
                d4=Dropout(),
                **softmax(1000),
            )
        )

    def forward(self, X: Tensor, noise: dict[str, Tensor]) -> Tensor:
        """X: (n, 1, 28, 28), noise: (n, units) by name -> logits (n, 10)."""
        noises = {self.d2: "drop1", self.d3: "drop2", self.d4: "drop3"}
        for layer in self:
            X = layer(X, noise[noises[layer]]) if layer in noises else layer(X)
        return X


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = layout(2, 2)
TRACE = traced(2, 2) | {"d2": ("d2",), "d3": ("d3",), "d4": ("d4",)}
