"""Checks of single operators and bare products. Imports NumPy; no framework."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from harness.conformance.check import Evidence, Failed, hold
from harness.conformance.subject import Subject, judged, same_bits
from harness.measure.precision import precision_operands

# The width of products that are timed: one takes milliseconds on a processor.
WIDTH = 384
# One product may take such a share of the time of so many; without any work it takes all of it.
PRODUCTS, MOST_SHARE, ATTEMPTS = 8, 0.5, 12


def matmul(subject: Subject) -> Evidence:
    """Products are exact where the dtype can be; an operator that is none is a ValueError.

    With both derivatives of op("matmul"). No reduced precision is exact there.
    """
    backend, dtype = subject.backend, subject.dtype
    for name, a, b, want in precision_operands(dtype):
        same_bits("product, {}", {name: backend.op("matmul", a, b)[0]}, {name: want})
    rng = np.random.default_rng(0)
    a, b, weights = (rng.standard_normal(s).astype(dtype) for s in ((5, 7), (7, 3), (5, 3)))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    names = ("value", "derivative by a", "derivative by b")
    pairs = []
    for weighted, by_value in ((None, np.ones((5, 3))), (weights, weights.astype(np.float64))):
        arrays = backend.op("matmul", a, b, weights=weighted)
        if len(arrays) != len(names):
            raise Failed(f"op('matmul') gives {len(arrays)} arrays; value and 2 derivatives")
        wanted = (wide_a @ wide_b, by_value @ wide_b.T, wide_a.T @ by_value)
        for name, got, want in zip(names, arrays, wanted, strict=True):
            pairs.append(subject.compared("gradients", name, got, want, "op('matmul')"))
    try:
        backend.op("no-such-operator", a)
    except ValueError:
        pass
    except Exception as error:
        kind = type(error).__name__
        raise Failed(f"op('no-such-operator') raised {kind}, no ValueError") from None
    else:
        raise Failed("op('no-such-operator') was taken; ValueError is wanted")
    return judged(pairs, "exact products; derivatives")


def products(subject: Subject) -> Evidence:
    """The function that products gives computes every product, and waits, at each call."""
    rng = np.random.default_rng(0)
    square = [rng.standard_normal((WIDTH, WIDTH)).astype(subject.dtype) for _ in range(PRODUCTS)]
    one = subject.backend.products([(square[0], square[1].T)])
    many = subject.backend.products([(matrix, matrix.T) for matrix in square])
    one()
    many()
    # By turns: what disturbs the machine for a while disturbs both.
    times = [(_seconds(one), _seconds(many)) for _ in range(ATTEMPTS)]
    share = min(t for t, _ in times) / max(min(t for _, t in times), 1e-9)
    return hold(
        share,
        MOST_SHARE,
        why=f"time of one product of {WIDTH} x {WIDTH} by that of {PRODUCTS}, the best of "
        f"{ATTEMPTS} attempts; 1 where nothing is computed",
        failure=f"{PRODUCTS} products take {share:.0%} of the time of one each: they are not "
        "computed, or not waited for",
        passed=f"{PRODUCTS} products against one",
    )


def _seconds(work: Callable[[], None]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
