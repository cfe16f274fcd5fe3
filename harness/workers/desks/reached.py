"""How far a training is, and what survives of it if it is cut off: its last epoch, in a file.

Imports NumPy and files; no framework.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from harness.files import digest, sealed, sync, write_sealed
from harness.interface import State
from harness.tensors import UNUSABLE, load_tensors, save_tensors
from harness.workers.looks import Looks

# The file's name, before the digest that it is sealed with.
STEM = "reached"
TIMES = ("step_ns", "gather_ns", "put_ns", "epoch_ns", "eval_ns")
# A training spends at most this share of its time on writing what survives: of one whose epochs
# take less than a disk needs, some epochs only.
SHARE = 1 / 20


class Reached:
    """A training in progress: its series so far, and whether it is time to write them down.

    `done`: steps; `losses`: of each; `times`: nanoseconds by series, see `TrainingDesk.train`;
    `went_on`: numbers of steps after which another process went on. out: where the training's files
    lie. path: the file of one that was cut off, "" for one that begins. ends: the last step of each
    epoch, after which it may be written; none: it is never.
    """

    def __init__(self, out: str, path: str, ends: Collection[int], looks: Looks) -> None:
        self._out, self._ends, self._looks = Path(out), frozenset(ends), looks
        held = load_tensors(path) if path else {}
        self.done = len(held.get("losses", ()))
        self.losses: list[float] = held.get("losses", np.zeros(0)).tolist()
        self.times: dict[str, list[int]] = {
            name: held.get(name, np.zeros(0, np.int64)).tolist() for name in TIMES
        }
        self.went_on: list[int] = held.get("went_on", np.zeros(0, np.int64)).tolist()
        self.state: State = _named(held, "final.")
        if path:
            self.went_on.append(self.done)
            looks.go_on(held)
        self._digests: State = _named(held, "sha256.")
        self._new: list[str] = []
        self._cost_ns, self._written = 0, time.perf_counter_ns()

    def save(self, name: str, tensors: State) -> None:
        """Write a file of the training, which whoever goes on with it needs too."""
        save_tensors(f"{self._out}/{name}", tensors)
        self._new.append(name)

    def series(self, state: State) -> State:
        """All that is known of the training; state: its present one."""
        series = {name: np.array(ns, np.int64) for name, ns in self.times.items()}
        series |= {"losses": np.array(self.losses, np.float64)}
        series |= {"went_on": np.array(self.went_on, np.int64)} if self.went_on else {}
        return series | self._looks.series() | {f"final.{n}": value for n, value in state.items()}

    def keep(self, steps: range, state: Callable[[], State]) -> None:
        """After these steps: write it down, if one of them ends an epoch and it costs little."""
        began = time.perf_counter_ns()
        if not self._ends & {*steps} or began - self._written < self._cost_ns / SHARE:
            return
        for name in self._new:
            sync(self._out / name)
            self._digests[name] = np.frombuffer(bytes.fromhex(digest(self._out / name)), np.uint8)
        self._new = []
        held = self.series(state()) | {f"sha256.{n}": each for n, each in self._digests.items()}
        data = save({name: np.asarray(value, order="C") for name, value in held.items()})
        write_sealed(self._out, STEM, data)
        self._written = time.perf_counter_ns()
        self._cost_ns = self._written - began


def _named(held: State, kind: str) -> State:
    return {name.removeprefix(kind): of for name, of in held.items() if name.startswith(kind)}


def find(out: Path) -> Path | None:
    """The file that a training in `out` can go on from; None where there is none.

    One that is damaged, or beside which a file of the training is not what it was, is none.
    """
    path = sealed(out, STEM)
    try:
        wanted = _named(load_tensors(str(path)), "sha256.") if path is not None else {}
        whole = all(digest(out / name) == want.tobytes().hex() for name, want in wanted.items())
    except UNUSABLE:
        whole = False
    return path if whole else None
