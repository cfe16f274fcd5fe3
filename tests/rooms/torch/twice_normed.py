"""Two dense layers with batch norm, dropout by noise, a dense layer; none is shown."""

import torch
from torch import nn
from torch.nn import functional as F


class Dropout(nn.Module):
    def forward(self, H, U):
        return H * (U >= 0.3) / 0.7 if self.training else H


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6)
        self.fc2, self.bn2 = nn.Linear(6, 4, bias=False), nn.BatchNorm1d(4)
        self.drop, self.fc3 = Dropout(), nn.Linear(4, 3)

    def forward(self, X, noise):
        H = torch.sigmoid(self.bn1(self.fc1(X)))
        return self.fc3(self.drop(self.bn2(self.fc2(H)), noise["U"]))


LOSS = "softmax-cross-entropy"


def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)


LAYOUT = {
    "W1": ("fc1.weight", (1, 0)),
    "gamma1": ("bn1.weight",),
    "beta1": ("bn1.bias",),
    "mean1": ("bn1.running_mean",),
    "var1": ("bn1.running_var",),
    "W2": ("fc2.weight", (1, 0)),
    "gamma2": ("bn2.weight",),
    "beta2": ("bn2.bias",),
    "mean2": ("bn2.running_mean",),
    "var2": ("bn2.running_var",),
    "W3": ("fc3.weight", (1, 0)),
    "b3": ("fc3.bias",),
}
