"""Checks of single operators and bare products. Imports NumPy; no framework."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from harness.conformance.check import Evidence, Failed
from harness.conformance.subject import Subject, same_bits
from harness.measure import distance as measure
from harness.measure import precision

# The width of products that are timed: one takes milliseconds on a processor.
WIDTH = 384
# One product may take such a share of the time of so many; without any work it takes all of it.
PRODUCTS, MOST_SHARE, ATTEMPTS = 8, 0.5, 12


def matmul(subject: Subject) -> Evidence:
    """Products are exact where the dtype can be; an operator that is none is a ValueError.

    With both derivatives of op("matmul"). No reduced precision is exact there.
    """
    backend, dtype = subject.backend, subject.dtype
    for name, a, b, want in precision.precision_operands(dtype):
        same_bits(f"product, {name}", np.asarray(backend.op("matmul", a, b)[0]), want, dtype)
    rng = np.random.default_rng(0)
    a, b, weights = (rng.standard_normal(s).astype(dtype) for s in ((5, 7), (7, 3), (5, 3)))
    wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
    limit = subject.limit("gradients")
    furthest = 0.0
    for given, told in ((None, np.ones((5, 3))), (weights, weights.astype(np.float64))):
        found = backend.op("matmul", a, b, weights=given)
        wanted = (wide_a @ wide_b, told @ wide_b.T, wide_a.T @ told)
        if len(found) != len(wanted):
            raise Failed(f"op('matmul') gives {len(found)} arrays; value and 2 derivatives")
        names = ("value", "derivative by a", "derivative by b")
        for name, got, want in zip(names, found, wanted, strict=True):
            if (problem := measure.mismatch(np.asarray(got), want, dtype)) is not None:
                raise Failed(f"op('matmul'), {name}: {problem}", tensor=name)
            off = measure.relative(np.asarray(got, np.float64) - want, want)
            if not off <= limit.value:
                raise Failed(
                    f"op('matmul'), {name} is off by {off:.3g}",
                    value=off,
                    limit=limit.value,
                    why=limit.reason,
                    tensor=name,
                )
            furthest = max(furthest, off)
    try:
        backend.op("no-such-operator", a)
    except ValueError:
        pass
    except Exception as error:
        kind = type(error).__name__
        raise Failed(f"op('no-such-operator') raised {kind}, no ValueError") from None
    else:
        raise Failed("op('no-such-operator') was taken; ValueError is wanted")
    return Evidence(
        message="exact products; derivatives", value=furthest, limit=limit.value, why=limit.reason
    )


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
    why = (
        f"time of one product of {WIDTH} x {WIDTH} by that of {PRODUCTS}, the best of {ATTEMPTS} "
        "attempts; 1 where nothing is computed"
    )
    if share > MOST_SHARE:
        raise Failed(
            f"{PRODUCTS} products take {1 / share:.2f} times as long as one: they are not "
            "computed, or not waited for",
            value=share,
            limit=MOST_SHARE,
            why=why,
        )
    return Evidence(
        message=f"{PRODUCTS} products against one", value=share, limit=MOST_SHARE, why=why
    )


def _seconds(work: Callable[[], None]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
