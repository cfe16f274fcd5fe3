"""Six systems as plain PyTorch: a module, autograd, torch.optim. May import torch, NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NielsenNeuron(nn.Module):
    """One sigmoid, the quadratic loss."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, X: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(torch.sigmoid(self.linear(X)), y) / 2


class LinearRegression(nn.Module):
    """A line, half the sum of the squared errors."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1, 1))
        self.b = nn.Parameter(torch.zeros(1, 1))

    def forward(self, X: Tensor, y: Tensor) -> Tensor:
        return ((X @ self.w + self.b - y) ** 2).sum() / 2


class Himmelblau(nn.Module):
    """A function of two variables, Adam."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(2))

    def forward(self, _X: Tensor, _y: None) -> Tensor:
        u, v = self.x
        return (u * u + v - 11) ** 2 + (u + v * v - 7) ** 2


class LogisticRegression(nn.Module):
    """One dense layer and a sigmoid, binary cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 1)

    def forward(self, X: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy(torch.sigmoid(self.linear(X)), y)


class NielsenConv2(nn.Module):
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 100 -> 10, sigmoid; softmax cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 40, 5)
        self.fc1 = nn.Linear(640, 100)
        self.fc2 = nn.Linear(100, 10)

    def forward(self, X: Tensor, y: Tensor) -> Tensor:
        H = torch.sigmoid(F.max_pool2d(self.conv1(X), 2))
        H = torch.sigmoid(F.max_pool2d(self.conv2(H), 2))
        H = torch.sigmoid(self.fc1(torch.flatten(H, 1)))
        return F.cross_entropy(self.fc2(H), y)


class CifarNet(nn.Module):
    """32 x 32 x 3 -> 14 x 14 x 6 -> 5 x 5 x 16 -> 120 -> 84 -> 10, ReLU; softmax cross-entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, X: Tensor, y: Tensor) -> Tensor:
        H = F.max_pool2d(F.relu(self.conv1(X)), 2)
        H = F.max_pool2d(F.relu(self.conv2(H)), 2)
        H = F.relu(self.fc1(torch.flatten(H, 1)))
        H = F.relu(self.fc2(H))
        return F.cross_entropy(self.fc3(H), y)


CONV_2 = ("K1", "c1", "K2", "c2", "W1", "b1", "W2", "b2")
CIFAR = (*CONV_2, "W3", "b3")
SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (NielsenNeuron, ("w", "b"), lambda own: torch.optim.SGD(own, lr=0.15)),
    "linear-regression": (LinearRegression, ("w", "b"), lambda own: torch.optim.SGD(own, lr=0.02)),
    "himmelblau": (Himmelblau, ("x",), lambda own: torch.optim.Adam(own, lr=0.001)),
    "logistic-regression": (LogisticRegression, ("W", "b"), lambda own: torch.optim.SGD(own, 0.1)),
    "nielsen-conv-2": (NielsenConv2, CONV_2, lambda own: torch.optim.SGD(own, lr=0.1)),
    "cifar-net": (CifarNet, CIFAR, lambda own: torch.optim.SGD(own, lr=0.001, momentum=0.9)),
}


class Flattened(NamedTuple):
    """The weights behind the images, whose rows are (rows, columns, channels), in torch's order."""

    images: tuple[int, int, int]

    def theirs(self, W: np.ndarray) -> np.ndarray:
        return W.reshape(*self.images, -1).transpose(3, 2, 0, 1).reshape(W.shape[::-1])

    def ours(self, W: np.ndarray) -> np.ndarray:
        rows, columns, channels = self.images
        split = W.reshape(-1, channels, rows, columns)
        return split.transpose(2, 3, 1, 0).reshape(W.shape[::-1])


FLATTENED = {
    "nielsen-conv-2": Flattened((4, 4, 40)),
    "cifar-net": Flattened((5, 5, 16)),
}


def theirs(system: str, name: str, value: np.ndarray) -> np.ndarray:
    """A tensor as torch has it: outputs first."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    return FLATTENED[system].theirs(value) if name == "W1" else value.T


def ours(system: str, name: str, value: np.ndarray) -> np.ndarray:
    """The same, outputs last."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    return FLATTENED[system].ours(value) if name == "W1" else value.T


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `compile`: the loss by torch.compile, the rest as it is."""
    make, names, optimiser = SYSTEMS[system]
    model = make()
    own = dict(zip(names, model.parameters(), strict=True))
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.tensor(theirs(system, name, start[name])))
    optimizer = optimiser(model.parameters())
    objective = torch.compile(model) if variant == "compile" else model
    targets = [None] * len(x) if y is None else torch.tensor(y)
    images = x.ndim == 5
    inputs = torch.tensor(np.ascontiguousarray(np.moveaxis(x, -1, 2)) if images else x)
    batches = [*zip(inputs, targets, strict=True)]

    def train(steps: int) -> list[int]:
        ns = []
        for X, Y in batches[:steps]:
            before = time.perf_counter_ns()
            optimizer.zero_grad()
            value = objective(X, Y)
            value.backward()
            optimizer.step()
            value.item()
            ns.append(time.perf_counter_ns() - before)
        return ns

    def parameters() -> dict[str, np.ndarray]:
        return {name: ours(system, name, p.detach().numpy()).copy() for name, p in own.items()}

    return train, parameters
