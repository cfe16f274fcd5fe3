"""nielsen-conv-0 in PyTorch: 784-100-10, sigmoid.

Read it beside the others: same names, same order. May import torch only.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from backends.torch.nielsen_ladder import dense, layout, softmax, traced

LOSS = "softmax-cross-entropy"


class Net(nn.Sequential):
    """784-100-10."""

    def __init__(self) -> None:
        super().__init__(
            OrderedDict(
                **dense(1, 784, 100, nn.Sigmoid()),
                **softmax(100),
            )
        )


def loss(Y_hat: Tensor, y: Tensor) -> Tensor:
    """Mean softmax cross-entropy in nats. Y_hat: logits (n, 10), y: int64 (n,)."""
    return F.cross_entropy(Y_hat, y)


LAYOUT = layout(0, 1)
TRACE = traced(0, 1)
