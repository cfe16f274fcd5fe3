"""Data that are made, not read: every training step has samples of its own, in their order.

A source is a function of seed and step. Imports NumPy and the interface only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.interface import Array

# One step's samples and targets: float32 (n, ...) each.
Samples = tuple[Array, Array]


@dataclass(frozen=True)
class Made:
    """A source that makes its data. `step(seed, t)`: what step t gets; steps: of one training."""

    name: str
    title: str
    step: Callable[[int, int], Samples]
    steps: int

    def arrays(self, seeds: tuple[int, ...], steps: int | None) -> Samples:
        """The samples of every step, those of each seed's training behind one another."""
        many = max(self.steps, steps or 0)
        parts = [self.step(seed, t) for seed in seeds for t in range(many)]
        x, y = (np.concatenate(of) for of in zip(*parts, strict=True))
        return x, y


def _line(seed: int, step: int) -> Samples:
    """Four points about y = 2 x + 3, x from 0 to 5."""
    rng = np.random.default_rng([seed, 4, step])
    x = rng.random((4, 1)) * 5
    y = 2 * x + 3 + rng.standard_normal((4, 1))
    return x.astype(np.float32), y.astype(np.float32)


def _one_to_zero(seed: int, step: int) -> Samples:  # noqa: ARG001
    return np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)


def _nothing(seed: int, step: int) -> Samples:  # noqa: ARG001
    return np.zeros(1, np.float32), np.zeros((1, 1), np.float32)


MADE = {
    made.name: made
    for made in (
        Made("line", "points about y = 2 x + 3", _line, 50),
        Made("one-to-zero", "the input 1 and the target 0", _one_to_zero, 300),
        Made("none", "no data", _nothing, 2000),
    )
}
