"""Somebody else's operator, x / (1 + |x|), with its truth: as docs/backend.md has it."""

from __future__ import annotations

import numpy as np


class Softsign:
    ordinary = (np.linspace(-4, 4, 40),)
    special = {"0": (np.zeros(1),), "inf": (np.array([np.inf]),)}  # noqa: RUF012
    functions = {"numpy": "softsign:by_hand", "torch": "softsign:in_torch"}  # noqa: RUF012

    def truth(self, weights, x):
        slope = np.where(np.isinf(x), 0.0, (1 + np.abs(x)) ** -2.0)
        return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))), weights * slope


def by_hand(X):
    scale = 1 + np.abs(X)
    value = np.where(np.isinf(X), np.sign(X), X / scale)
    return value, lambda W: (W / np.square(scale),)


def in_torch(X):
    from torch.nn import functional as F

    return F.softsign(X)


class Broken(Softsign):
    def truth(self, weights, x):
        raise ArithmeticError("no truth today")


def wrong(X):
    return by_hand(X)[0], lambda W: (W / (1 + np.abs(X)),)


class Wrong(Softsign):
    functions = {"numpy": "softsign:wrong"}  # noqa: RUF012
