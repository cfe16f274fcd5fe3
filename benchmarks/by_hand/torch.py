"""Four small systems as plain PyTorch: a module, autograd, torch.optim. May import torch, NumPy."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

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


SYSTEMS: dict[str, Any] = {
    "nielsen-neuron": (NielsenNeuron, ("w", "b"), lambda own: torch.optim.SGD(own, lr=0.15)),
    "linear-regression": (LinearRegression, ("w", "b"), lambda own: torch.optim.SGD(own, lr=0.02)),
    "himmelblau": (Himmelblau, ("x",), lambda own: torch.optim.Adam(own, lr=0.001)),
    "logistic-regression": (LogisticRegression, ("W", "b"), lambda own: torch.optim.SGD(own, 0.1)),
}


def loop(
    system: str, variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray | None
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; `compile`: the loss by torch.compile, the rest as it is."""
    make, names, optimiser = SYSTEMS[system]
    model = make()
    own = dict(zip(names, model.parameters(), strict=True))
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(torch.from_numpy(start[name].T))
    optimizer = optimiser(model.parameters())
    objective = torch.compile(model) if variant == "compile" else model
    targets = [None] * len(x) if y is None else torch.tensor(y)
    batches = [*zip(torch.tensor(x), targets, strict=True)]

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
        return {name: p.detach().numpy().T.copy() for name, p in own.items()}

    return train, parameters
