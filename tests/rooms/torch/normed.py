"""A dense layer, batch norm, dropout by noise, a dense layer."""

import torch
from torch import nn
from torch.nn import functional as F


class Dropout(nn.Module):
    def forward(self, H, U):
        return H * (U >= 0.25) / 0.75 if self.training else H


class Net(nn.Module):
    def __init__(self, bias=1):
        super().__init__()
        self.fc1 = nn.Linear(5, 6, bias=bool(bias))
        self.bn = nn.BatchNorm1d(6)
        self.drop = Dropout()
        self.fc2 = nn.Linear(6, 3)

    def forward(self, X, noise):
        return self.fc2(self.drop(torch.sigmoid(self.bn(self.fc1(X))), noise["U"]))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("fc1.weight", (1, 0)),
    "b1": ("fc1.bias",),
    "gamma": ("bn.weight",),
    "beta": ("bn.bias",),
    "mean": ("bn.running_mean",),
    "var": ("bn.running_var",),
    "W2": ("fc2.weight", (1, 0)),
    "b2": ("fc2.bias",),
}
TRACE = {"z1": ("fc1",), "n1": ("bn",)}
