"""How far what a process gave lies from what was expected, as pictures of the kept tensors.

The whole tensor as a heat map, and its difference against what was expected. Imports NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.errors import InputError
from harness.interface import Array
from harness.report.images import encode
from harness.report.page import data_address
from harness.report.run_tables import Run
from harness.report.sections import HeatMap, Scatter, Section
from harness.results import kept
from harness.results.kept import Reproduced, Tensors
from harness.text import short
from harness.verdict.verdict import Verdict

# Dots of a heat map, rows and columns; what is larger is pooled.
MOST_DOTS = 128
# So many powers of ten below the largest difference the palest dot lies.
DECADES = 4
ABOVE, BELOW, UNDEFINED = (196, 66, 33), (45, 105, 190), (128, 0, 128)
PALEST = 40
MOST_POINTS = 1500
# Below this share of the difference left under a factor, the factor is what it is.
FACTOR_LEFT = 0.05


def section(run: Run, verdict: Verdict) -> Section:
    """Both pictures of a verdict's first divergence, or why there are none."""
    try:
        found = kept.find(run.record, verdict)
        tensors = kept.read_tensors(run.record, run.folder, found)
        got, want, what = _pair(found, tensors)
    except InputError as error:
        return Section(note=f"No picture of it: {error}")
    except (KeyError, TypeError, ValueError):
        return Section(note="No picture of it: got and expected were not kept in one shape.")
    if got.size < 2:
        return Section(note="No picture of it: it is a single number.")
    at = found.at
    about = f"{at.tensor}, {at.case}, {at.dtype}"
    pictures: list[HeatMap | Scatter] = [heat(got - want, about), *scatter(got, want, what)]
    return Section(pictures=pictures, look="apart", note=found.instead or "")


def _pair(found: Reproduced, tensors: Tensors) -> tuple[Array, Array, str]:
    """What was given and what was expected, float64, of one shape; of an update the changes."""
    key, tensor = found.key, found.at.tensor
    got = tensors.got[key]
    want = tensors.want["loss" if found.at.rung == "loss" else key]
    given = tensors.given.get(f"state.{tensor}")
    if got.shape != want.shape:
        raise ValueError(key)
    got, want = (np.asarray(of).astype(np.float64) for of in (got, want))
    if found.kind == "centred":  # as it is judged
        got, want = (of - of.mean(axis=-1, keepdims=True) for of in (got, want))
        return got, want, "value less its row's mean"
    if found.kind in ("update", "lockstep") and given is not None:
        before = given.astype(np.float64)
        return before - got, before - want, "change"
    return got, want, "value"


def heat(difference: Array, about: str) -> HeatMap:
    """A tensor's differences as rows of its last axis, pooled to the largest of each dot."""
    flat = difference.reshape(-1, difference.shape[-1])
    pooled, place = _pooled(flat)
    rows, columns = pooled.shape
    with np.errstate(all="ignore"):
        size = np.abs(pooled)
        most = float(np.max(size, initial=0.0, where=np.isfinite(size)))
        strength = 1 + np.log10(size / most if most else size) / DECADES
    strength = np.clip(np.nan_to_num(strength, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)
    alpha = np.where(pooled == 0, 0.0, PALEST + (255 - PALEST) * strength)
    colour = np.where((pooled > 0)[..., None], ABOVE, BELOW)
    odd = ~np.isfinite(pooled)
    colour = np.where(odd[..., None], UNDEFINED, colour)
    dots = np.concatenate([colour, np.where(odd, 255, alpha)[..., None]], axis=2).astype(np.uint8)
    source = encode([row.tobytes() for row in dots], columns, 6)
    shape = " × ".join(map(str, difference.shape))
    per = [math.ceil(n / MOST_DOTS) for n in flat.shape]
    folded = "" if max(per) == 1 else f", a dot the largest of {per[0]} × {per[1]}"
    laid = "" if difference.ndim < 3 else f" as {flat.shape[0]} rows"
    return HeatMap(
        title="got − expected",
        source=data_address("image/png", source),
        caption=f"{about}: {shape}{laid}{folded}. Red: too large, blue: too small, palest "
        f"{DECADES} powers of ten below {short(most)}, the largest (ringed); blank: the same.",
        shape=(rows, columns),
        worst=(100 * (place[1] + 0.5) / columns, 100 * (place[0] + 0.5) / rows),
    )


def _pooled(flat: Array) -> tuple[Array, tuple[int, int]]:
    """The difference of largest size in each dot, and the dot with the largest of all."""
    with np.errstate(all="ignore"):
        size = np.where(np.isfinite(flat), np.abs(flat), np.inf)
    edges = [np.arange(0, n, math.ceil(n / MOST_DOTS)) for n in flat.shape]
    most = np.maximum.reduceat(np.maximum.reduceat(size, edges[0], axis=0), edges[1], axis=1)
    low = np.where(np.isnan(flat), -np.inf, flat)
    low = np.minimum.reduceat(np.minimum.reduceat(low, edges[0], axis=0), edges[1], axis=1)
    pooled = np.where(most == -low, low, most)
    pooled = np.where(np.isfinite(most), pooled, np.nan)
    row, column = np.unravel_index(int(np.argmax(most)), most.shape)
    return pooled, (int(row), int(column))


def scatter(got: Array, want: Array, what: str) -> Sequence[Scatter]:
    """The difference over what was expected, with the factor that fits; none where none is."""
    x, y = want.ravel(), (got - want).ravel()
    fine = np.isfinite(x) & np.isfinite(y)
    x, y = x[fine], y[fine]
    if x.size < 2 or not np.any(x) or not np.any(y):
        return []
    unit = float(np.max(np.abs(x)))
    slope = float(np.dot(x / unit, y) / np.dot(x / unit, x / unit)) / unit
    high = float(np.max(np.abs(y)))
    left = float(np.linalg.norm((y - slope * x) / high) / np.linalg.norm(y / high))
    every = max(1, math.ceil(x.size / MOST_POINTS))
    shown = np.unique(np.append(np.arange(0, x.size, every), np.argmax(np.abs(y))))
    across, up = 50 + 46 * x[shown] / unit, 50 - 46 * y[shown] / high
    end = 46 * slope * unit / high
    cut = min(1.0, 50 / abs(end)) if end else 1.0
    factor = f"{1 + slope:.5g}"
    fits = (
        f"all of it is one factor: got = {factor} × expected"
        if left <= FACTOR_LEFT
        else f"no one factor: the best, {factor}, leaves {left:.0%} of it"
    )
    return [
        Scatter(
            title="got − expected over expected",
            points="".join(f"M{a:.1f} {b:.1f}h0" for a, b in zip(across, up, strict=True)),
            fit=(50 - 46 * cut, 50 + end * cut, 50 + 46 * cut, 50 - end * cut),
            across=(short(-unit), short(unit)),
            up=(short(-high), short(high)),
            caption=f"Of each {what}. Level: got = expected (y = x); sloping: {fits}."
            + (f" A point in {every}." if every > 1 else ""),
        )
    ]
