"""What a picture shows, in a sentence: its heading says that, and below it what is drawn.

Each takes figures by the name of a label, as they are told, and gives "" where there are none.
Imports NumPy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from harness.interface import Array
from harness.text import short

# A name and a figure of it; a name may have any number.
Named = Iterable[tuple[str, float]]


def each(named: Iterable[tuple[str, Array]]) -> list[tuple[str, float]]:
    """Every element with its name; what is not a number counts as infinite."""
    return [
        (name, float(value))
        for name, values in named
        for value in np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf)
    ]


def furthest(distances: Named, limits: Sequence[float] = ()) -> str:
    """Of distances, 0 and more: whose is the largest, and what share of the limit, if it is one."""
    most, who, said = _largest(distances)
    if said or not who:
        return said
    told = f"Furthest: {who}, {short(most)}"
    if len(limits) != 1:
        return told
    (limit,) = limits
    return f"{told}, {short(most / limit)}{' of' if most <= limit else ' ×'} its limit"


def nearest_to_limit(shares: Named) -> str:
    """Of shares of limits: whose is the largest."""
    most, who, said = _largest(shares)
    if said or not who:
        return said
    if most > 1:
        return f"Furthest beyond its limit: {who}, {short(most)} times it"
    return f"Nearest to its limit: {who}, {short(most)} of it"


def moved(series: Iterable[tuple[str, Array]], since: str) -> str:
    """Of positive values one after the other: which is furthest from its first one at the end."""
    ends = {}
    for name, values in series:
        held = values[np.isfinite(values) & (values > 0)]
        if len(held) > 1:
            ends[name] = held[[0, -1]]
    if not ends:
        return ""
    most = max(ends, key=lambda name: abs(float(np.diff(np.log(ends[name]))[0])))
    with np.errstate(over="ignore"):
        times = float(ends[most][1] / ends[most][0])
    return f"Furthest from {since}: {most}, {short(times, 3)} times"


def between(what: str, ended: Named) -> str:
    """Between which figures something ends, and whose those are."""
    found = [*ended]
    lost = [name for name, value in found if not math.isfinite(value)]
    if lost:
        return f"{what} does not stay finite: {_names(lost)}"
    if not found:
        return ""
    low, high = (end(value for _, value in found) for end in (min, max))
    least, most = short(low, 4), short(high, 4)
    if least == most:
        return f"{what} ends at {least}" + " in all" * (len({name for name, _ in found}) > 1)
    return f"{what} ends between {least} ({_of(found, low)}) and {most} ({_of(found, high)})"


def _largest(figures: Named) -> tuple[float, str, str]:
    """The largest, and whose it is ("": there is none); what is said where it is no size."""
    found = [*figures]
    most = max((value for _, value in found), default=math.nan)
    who = _of(found, most)
    if most == math.inf:
        return most, who, f"Without a finite distance: {who}"
    return most, who, "Nothing is apart by a single bit" if most == 0 else ""


def _of(found: Iterable[tuple[str, float]], value: float) -> str:
    """Whose a figure is."""
    return _names([name for name, of in found if of == value])


def _names(named: Iterable[str]) -> str:
    """Each name once, of many the first two; "" of none."""
    every = [*dict.fromkeys(named)]
    if len(every) > 3:
        every = [*every[:2], f"{len(every) - 2} more"]
    return " and ".join([", ".join(every[:-1]), every[-1]] if len(every) > 1 else every)
