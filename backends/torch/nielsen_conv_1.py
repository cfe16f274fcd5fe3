"""nielsen-conv-1 in PyTorch: one convolution, one dense layer, sigmoid.

Read it beside the others: same names, same order. May import torch only.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from backends.torch.nielsen_ladder import convolution, dense, layout, softmax, traced

LOSS = "softmax-cross-entropy"


class Net(nn.Sequential):
    """28 x 28 -> 12 x 12 x 20 -> 100 -> 10."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                **convolution(1, 1, 20, nn.Sigmoid()),
                flatten=nn.Flatten(),
                **dense(2, 2880, 100, nn.Sigmoid()),
                **softmax(100),
            )
        )


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = layout(1, 1, split=(100, 20, 12, 12))
TRACE = traced(1, 1)
