"""`harness.same`: two functions, asked whether they compute the same; the answer as a document."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import InputError
from harness.interface import Array
from harness.pair import arguments as making
from harness.pair import telling
from harness.pair.arguments import Arguments
from harness.pair.asking import Asked
from harness.pair.document import Argument, Same, Side
from harness.pair.sides import Apart, Callee, Here
from harness.plan import interpreters, settings
from harness.plan.choices import parse_timeout
from harness.plan.make import MOST_DEFAULT_THREADS, available_threads
from harness.plan.plugins import LABEL
from harness.progress import Progress
from harness.text import plain
from harness.workers.scratch import scratch_folder

# An argument's arrays each way, a few times over.
SCRATCH_BYTES = 200_000_000
TIMEOUT_S = 60.0
# A function, or where one lies: FILE.py:FUNCTION or MODULE:FUNCTION.
Given = Callable[..., Any] | str


class _Silent:
    """Progress that nobody looks at."""

    def phase(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def note(self, text: str) -> None: ...


def same(
    *,
    args: Mapping[str, Any] | Sequence[Any] | str | None = None,
    like: str | Sequence[str] = (),
    truth: Given | None = None,
    timeout: float = TIMEOUT_S,
    python: Mapping[str, str] | None = None,
    **sides: Given,
) -> Same:
    """Do two functions compute the same? `same(numpy=f, torch=g, args={"x": x})`.

    sides: exactly two, by name: "numpy", "torch", "jax", "tensorflow" (or one of these with more
    behind a "_", "torch_mine") is given that framework's own arrays, any other name NumPy's. A
    function is called in this process, with nothing between it and what else is here; a text,
    FILE.py:FUNCTION or MODULE:FUNCTION, names one that is called in a process of its own, with
    threads and precision pinned. args: a dictionary (by name), a tuple (by place), a file of
    numpy.savez, or FILE.py:FUNCTION that makes one of these; like: words as x=float32[8,64] of what
    is drawn in its place. truth: a third function, of NumPy arrays, whose float64 is true. timeout:
    seconds for a call; python: by side, its interpreter. InputError for what cannot be asked.
    """
    words: dict[str, Any] = {"args": args, "like": like, "truth": truth}
    return compared(sides, timeout=timeout, python=python, **words)


def compared(
    sides: Mapping[str, Given],
    *,
    args: Mapping[str, Any] | Sequence[Any] | str | None = None,
    like: str | Sequence[str] = (),
    truth: Given | None = None,
    timeout: float = TIMEOUT_S,
    python: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Same:
    """The same of sides in a table, and with progress told."""
    began, timeout_s = time.monotonic(), parse_timeout(timeout)
    if len(sides) != 2:
        raise InputError(f"{len(sides)} sides: exactly two are compared, as numpy=… torch=…")
    pythons = {name: interpreters.absolute(path) for name, path in (python or {}).items()}
    for name in {**sides, **pythons}:
        if not LABEL.fullmatch(name) or name not in sides:
            raise InputError(f"{name}: no side has this name (letters, digits, _ . @ + -)")
    with contextlib.ExitStack() as ending:
        scratch = ending.enter_context(scratch_folder(SCRATCH_BYTES))
        pythons = {n: p for n, p in settings.read().python.items() if n in sides} | pythons
        opened = [
            ending.enter_context(_opened(name, given, scratch, pythons.get(name, ""), timeout_s))
            for name, given in sides.items()
        ]
        true = None
        if truth is not None:
            true = ending.enter_context(_opened("truth", truth, scratch, "", timeout_s))
        arguments = _arguments(args, like, scratch, timeout_s)
        asked = Asked(opened, true, arguments, progress or _Silent())
        described = [_described(each, asked) for each in opened]
    answered = telling.answer(asked.seen, asked.findings, asked.bits())
    return Same(
        answer=answered.answer or "cannot be told",
        sentence=plain(answered.sentence, 1000),
        sides=described,
        truth=asked.seen.truth,
        made=arguments.made,
        arguments=_listed(arguments),
        questions=[finding.question for finding in asked.findings],
        first=answered.first,
        explained=[*answered.explained],
        points=[each.point for each in asked.judged],
        seconds=time.monotonic() - began,
    )


@contextlib.contextmanager
def _opened(
    name: str, given: Given, scratch: Path, python: str, timeout_s: float
) -> Iterator[Callee]:
    """A side; in a process of its own it imports meanwhile. It is closed on the way out."""
    side: Callee
    if isinstance(given, str):
        threads = min(available_threads(), MOST_DEFAULT_THREADS)
        folder = scratch / f"of-{name}"
        words: dict[str, Any] = {"python": python, "threads": threads, "timeout_s": timeout_s}
        side = Apart(name, given, folder, **words)
        side.begin()
    elif callable(given):
        side = Here(name, given)
    else:
        raise InputError(f"{name}: a function, or FILE.py:FUNCTION, is wanted")
    try:
        yield side
    finally:
        side.close()


def _arguments(args: Any, like: str | Sequence[str], scratch: Path, timeout_s: float) -> Arguments:
    """What both are given; InputError unless exactly one of the two says it."""
    if (args is None) == (not like):
        raise InputError("arguments: give either --args, or --like for drawn ones")
    if args is None:
        return making.draw(making.parse_like([like] if isinstance(like, str) else like))
    if not isinstance(args, str):
        return making.made(args)
    if args.endswith(".npz"):
        return making.read_npz(Path(args))
    with _opened("--args", args, scratch, "", timeout_s) as maker:
        assert isinstance(maker, Apart)
        return maker.made()


def _described(side: Callee, asked: Asked) -> Side:
    """What a side is, with what it was seen to do."""
    described = side.describe()
    notes = asked.seen.single[side.name].said.notes
    described.notes.extend(plain(note) for note in notes)
    return described


def _listed(given: Arguments) -> list[Argument]:
    """The arguments as a document has them."""
    arrays: dict[str, Array] = {name: np.asarray(array) for name, array in given.arrays.items()}
    listed = [
        Argument(name=name, dtype=given.dtypes[name], shape=array.shape)
        for name, array in arrays.items()
    ]
    return listed + [
        Argument(name=name, text=plain(repr(value), 100)) for name, value in given.settings.items()
    ]
