"""What a named source of data is: its files, how they are read, what stands in for them.

Imports NumPy's types only; the sources beside it are instances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.interface import Array

# Train x, train y, test x, test y.
Arrays = tuple[Array, Array, Array, Array]


@dataclass(frozen=True)
class Source:
    """A data set by name.

    title: its name for people. files: sets of file names, of which one is enough, the first that
    is complete; each as named or with .gz behind it. read: those files to the four arrays; raises
    InputError. make: a synthetic stand-in, `maker` says whose. folders: what it is called in a
    folder for several sources. origin: where to get it, for people. variable: an environment
    variable that names a folder for this source alone. sha256: of published files, by name;
    mirrors: base addresses where those are; without both nothing is downloaded.
    cached: the folder of its downloads, where that is not called as it is.
    pinned: by the identity of the arrays and what they are normalised by, SHA-256 of the float32
    numbers that models are given, train and test (little-endian, C order).
    """

    name: str
    title: str
    files: tuple[tuple[str, ...], ...]
    read: Callable[[Sequence[Path]], Arrays]
    class_names: tuple[str, ...]
    make: Callable[[], Arrays]
    maker: str
    folders: tuple[str, ...]
    origin: str
    variable: str = ""
    cached: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    mirrors: tuple[str, ...] = ()
    pinned: Mapping[tuple[str, tuple[float, float] | None], tuple[str, str]] = field(
        default_factory=dict
    )
