"""Two convolutions, a pool, a dense layer."""

from torch import nn
from torch.nn import functional as F


class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.z1, self.h1 = nn.Conv2d(2, 4, 3, padding=1), nn.ReLU()
        self.z2, self.h2 = nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Tanh()
        self.p2 = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)
        self.flat, self.z3 = nn.Flatten(), nn.Linear(16, 3)


def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)


IMAGE, KERNEL = (0, 2, 3, 1), (2, 3, 1, 0)
LAYOUT = {
    "x": ("x", IMAGE),
    "K1": ("z1.weight", KERNEL),
    "c1": ("z1.bias",),
    "K2": ("z2.weight", KERNEL),
    "c2": ("z2.bias",),
    "W3": ("z3.weight", KERNEL, (3, 4, 2, 2)),
    "b3": ("z3.bias",),
}
TRACE = {name: (name, IMAGE) for name in ("z1", "h1", "z2", "h2", "p2")}
