"""What a library's own tests use: its backends as handles, and the judge.

`harness/testing/pytest_plugin.py` makes fixtures of it. Every backend lives in a worker, and none
is imported here; nor is pytest.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import SkipTest

import msgspec
import numpy as np

from harness.conformance.material import samples
from harness.conformance.system import allowed, processors
from harness.errors import InputError
from harness.interface import Array, State, Unavailable, Workload
from harness.measure.distance import Formula, plain
from harness.measure.ladder import Wanted, update_formula
from harness.measure.straying import UNIT
from harness.plan import plugins, settings
from harness.plan.choices import Choices, check_choice
from harness.plan.make import MOST_DEFAULT_THREADS, available_threads, find_entries, make_plan
from harness.plan.model import DEVICES, Plan, Timing
from harness.record.schema import INTERRUPTED, Record
from harness.run import session
from harness.verdict import verdict
from harness.verdict.verdict import Verdict
from harness.workers import providers
from harness.workers.launch import WorkerUnavailable
from harness.workers.pool import open_worker
from harness.workers.remote import DESK, Connection, RemoteTrainer
from harness.workers.scratch import scratch_folder
from harness.workloads import DEFAULT
from harness.workloads.reference.canonical import epoch_order, initial_state
from harness.workloads.reference.composed import Composed, Look, Net, cast
from harness.workloads.reference.limits import ROOM
from harness.workloads.reference.optimisers import moved
from harness.workloads.reference.screening import clear, screen

# Samples that batches are made of, at most.
POOL = 2048
# A worker's logs, and one file of tensors each way.
SCRATCH_BYTES = 50_000_000
# Times are no matter of a test that passes or fails.
UNTIMED = Timing(sessions=1, rounds=0, warmup_rounds=0)


class Compared(NamedTuple):
    """One backend through the ladder: its record, the verdict, and the run's folder."""

    record: Record
    verdict: Verdict
    folder: Path


class Bench:
    """The backends of one session of tests, and the workers that live; `close` ends them.

    A worker is started once per backend and dtype, and again where it has failed.
    """

    def __init__(
        self,
        *,
        backends: tuple[str, ...] = (),
        pythons: dict[str, str] | None = None,
        plants: dict[str, str] | None = None,
        device: str = "cpu",
        workload: str | None = None,
        rooms: str | None = None,
        root: Path,
    ) -> None:
        """Words as Choices has them; InputError where they mean nothing.

        root: where harness.toml is, and where files are looked for that are not found from here.
        """
        self._choices = Choices(
            profile="smoke",
            backends=tuple(_placed(text, root) for text in backends),
            pythons=pythons or {},
            settled=settings.read(root).python,
            plants={label: _placed(plant, root) for label, plant in (plants or {}).items()},
            device=device,
            rooms=None if rooms is None else _folder("--backend-rooms", rooms, root),
            threads=_threads(),
        )
        self._trained = providers.find(_placed(workload or DEFAULT, root))
        self.named = bool(backends)
        self.labels = tuple(find_entries(self._choices))
        check_choice("--device", device, DEVICES)
        for option, table in (("--backend-python", pythons), ("--backend-plant", plants)):
            for label in table or {}:
                check_choice(option, label, self.labels)
        self._live: dict[tuple[str, str], Connection] = {}
        self._started = 0
        self._folders = contextlib.ExitStack()
        self._scratch = self._folders.enter_context(scratch_folder(SCRATCH_BYTES))

    @property
    def workload(self) -> Workload:
        """What is trained."""
        return self._trained[0]

    def oracle(self) -> Oracle:
        """Its judge; InputError where it has no net to make one from."""
        workload, net, _ = self._trained
        if net is None:
            raise InputError(f"{workload.name} has no net, from which a judge is made")
        return Oracle(workload, net)

    def plan(self, label: str, profile: str = "smoke") -> Plan:
        """The plan of a label alone.

        Raises InputError where a backend that was named cannot run here, else SkipTest.
        """
        choices = msgspec.structs.replace(self._choices, profile=profile)
        if self.named:
            _, spec = plugins.split(choices.backends[self.labels.index(label)])
            own = {
                field: {label: table[label]} if label in table else {}
                for field, table in (("pythons", choices.pythons), ("plants", choices.plants))
            }
            choices = msgspec.structs.replace(choices, backends=(f"{label}={spec}",), **own)
        plan = make_plan(choices, *self._trained)
        if label in plan.skipped:
            raise SkipTest(f"{label}: {plan.skipped[label]}")
        return msgspec.structs.replace(plan, labels={label: plan.labels[label]}, skipped={})

    def connection(self, label: str, dtype: str) -> Connection:
        """A live worker of a label; Unavailable, SkipTest or WorkerFailed where there is none."""
        live = self._live.get((label, dtype))
        if live is not None and live.failed is None:
            return live
        plan = self.plan(label)
        self._started += 1
        folder = self._scratch / str(self._started)
        folder.mkdir()
        with _processors_apart(plan.threads):
            worker = open_worker(
                plan,
                label,
                dtype,
                name=f"{label}-{dtype}",
                run=folder.name,
                logs=folder,
                scratch=self._scratch,
                desk=DESK,
            )
        try:
            made = Connection(worker, folder, plan.timeouts.command_s)
        except WorkerUnavailable as error:
            raise self.absent(label, str(error), expected=error.no_float64) from None
        self._live[label, dtype] = made
        return made

    def absent(self, label: str, reason: str, *, expected: bool = False) -> Exception:
        """What a test ends with whose backend cannot run: failed if it was named, else skipped.

        expected: skipped in any case.
        """
        if self.named and not expected:
            return Unavailable(f"{label}: {reason}")
        return SkipTest(f"{label}: {reason}")

    def close(self) -> None:
        """End every worker. Idempotent."""
        for connection in self._live.values():
            connection.close()
        self._live = {}
        self._folders.close()


class RemoteBackend:
    """One backend under test. `label`: what the command line calls it."""

    def __init__(self, bench: Bench, label: str, folder: Callable[[], Path]) -> None:
        """folder: makes one for a run of `compare`."""
        self._bench = bench
        self._folder = folder
        self.label = label
        self.name = bench.plan(label).labels[label].backend

    def __repr__(self) -> str:
        return f"<backend {self.label}>"

    @property
    def facts(self) -> dict[str, str]:
        """What it says of itself: versions, device, threads; of its float32 process."""
        return dict(self._bench.connection(self.label, "float32").facts)

    def trainer(self, workload: Workload | None = None, dtype: str = "float32") -> RemoteTrainer:
        """A new trainer in the process of that dtype; `close` it.

        Raises ValueError where the backend does not know the workload.
        """
        connection = self._bench.connection(self.label, dtype)
        return RemoteTrainer(connection, workload or self._bench.workload, dtype)

    def compare(self, profile: str = "smoke") -> Compared:
        """The whole ladder, in processes of its own, untimed; the run is stored and judged."""
        plan = msgspec.structs.replace(self._bench.plan(self.label, profile), timing=UNTIMED)
        with _processors_apart(plan.threads):
            record, folder = session.run(plan, self._folder(), _Silent())
        if record.ended == INTERRUPTED:
            raise KeyboardInterrupt
        judged = verdict.judge(record)
        label = judged.labels[self.label]
        if label.status == "skipped":
            raise self._bench.absent(self.label, label.reason or "it was not started")
        return Compared(record, judged, folder)


class Oracle:
    """The judge: float64 NumPy, and the numbers that every backend is given.

    A state may be of any floating dtype: give it the very one that the backend holds.
    """

    def __init__(self, workload: Workload, net: Net) -> None:
        self.workload = workload
        self._judge = Composed(net)

    @functools.cached_property
    def _pool(self) -> State:
        return samples(self.workload, POOL)

    def initial(self, seed: int = 0) -> State:
        """The state that a training starts from: float32, canonical names and layouts."""
        return initial_state(self.workload, seed)

    def batch(self, n: int | None = None, *, seed: int = 0, state: State | None = None) -> State:
        """N made samples: "x" float32 (n, ...), "y" int64 (n,) or float32, noise by name.

        n: a full batch by default. None has a value within rounding of a kink at `state` (default:
        the initial one of `seed`), where correct backends may differ by 6e-3 in a gradient.
        ValueError where there are not so many (some 2000).
        """
        there = len(self._pool["x"])
        n = min(self.workload.batch_size or there, there) if n is None else n
        if n > there:
            raise ValueError(f"a batch of {n}: there are {there} samples")
        at = self.initial(seed) if state is None else state
        order = epoch_order(seed, 0, there)
        rows, _ = screen(order, 0, n, lambda rows: clear(self._judge, at, self._taken(rows)))
        return self._taken(rows)

    def _taken(self, rows: Array) -> State:
        return {name: value[rows] for name, value in self._pool.items()}

    def outputs(self, state: State, batch: State) -> Array:
        """Outputs as in evaluation, float64 (n, *outputs)."""
        return self._judge.outputs(cast(state), cast(batch))

    def look(self, state: State, batch: State) -> Look:
        """What a step computes: outputs, the mean loss, grads by name, running tensors after it."""
        look = self._judge.look(cast(state), cast(batch))
        return look._replace(grads={t.name: look.grads[t.name] for t in self.workload.trained})

    def trace(self, state: State, batch: State) -> State:
        """The values on the way of a step, by name."""
        return self._judge.trace(cast(state), cast(batch))

    def step(self, state: State, batch: State) -> Stepped:
        """The state after one update, float64; the one given is not changed."""
        return Stepped(Wanted.of(self._judge, self.workload, state, batch, "float64"))


class Stepped(dict[str, Array]):
    """The state after one update, float64, and how `assert_agrees` measures another against it."""

    def __init__(self, wanted: Wanted) -> None:
        new = {name: wanted.state[name] - change for name, change in wanted.changes.items()}
        super().__init__(wanted.state | new | {n: v.copy() for n, v in wanted.after.items()})
        self._wanted = wanted

    def formula(self, name: str, before: Array, want: Array) -> Formula:
        """Of a tensor's error where correct code took a step from `before`, in its dtype.

        Plain but for what is trained: there relative to the change, and less what the rule makes of
        rounding. want: what is asked for, float64.
        """
        wanted, dtype = self._wanted, str(before.dtype)
        if name not in wanted.changes:
            return plain
        # As the judge has it, not rounded with what it was taken from; and what a test changed.
        change = wanted.changes[name] + (wanted.state[name] - wanted.changes[name] - want)
        held = replace(wanted, state=cast(wanted.state, dtype) | {name: before})
        return update_formula(held, name, change, self._rounded(name, dtype))

    def _rounded(self, name: str, dtype: str) -> Array:
        """How far rounding may take a change, by element, as the rule's own formula shows it.

        Adam's 1 - 0.999^t loses four digits of float32 at first. Float64, which the judge is
        computed in, shows nothing: float32's stands for it, by as much smaller as its unit is.
        """
        wanted, shown = self._wanted, "float32" if dtype == "float64" else dtype
        rule, grads = self._wanted.workload.optimiser, {name: wanted.grads[name]}
        found, _ = moved(rule, cast(wanted.state, shown), cast(grads, shown))
        off = np.abs(found[name].astype(np.float64) - wanted.changes[name])
        return ROOM * UNIT.get(dtype, 1.0) * off


def _placed(text: str, root: Path) -> str:
    """[LABEL=]FILE[:NAME] with the file's place under `root`, if only there is one."""
    label, spec = plugins.split(text)
    file, colon, name = spec.rpartition(":")
    if not colon or name.endswith(".py"):
        file, colon, name = spec, "", ""
    if not file.endswith(".py") or os.path.isfile(file) or not os.path.isfile(root / file):
        return text
    return f"{label}{'=' if label else ''}{root / file}{colon}{name}"


def _folder(option: str, text: str, root: Path) -> str:
    """A folder from here, or else from `root`; InputError where there is none."""
    for folder in (Path(text), root / text):
        if os.path.isdir(folder):
            return str(folder)
    raise InputError(f"{option} {text}: there is no such folder")


def _pytest_processes() -> tuple[int, int]:
    """Which of how many pytest processes this is (pytest-xdist); 0 of 1 where it is alone."""
    place = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    count = os.environ.get("PYTEST_XDIST_WORKER_COUNT", "")
    if not (place.isdecimal() and count.isdecimal()):
        return 0, 1
    return int(place), max(1, int(count))


def _threads() -> int:
    """Threads of a worker: those of a plan, shared among pytest processes side by side."""
    return max(1, min(available_threads() // _pytest_processes()[1], MOST_DEFAULT_THREADS))


def _processors_apart(threads: int) -> contextlib.AbstractContextManager[None]:
    """In here workers are started on other processors than those of other pytest processes.

    A worker keeps to the first processors that its parent may use: all would share them, and two
    that share one wait for each other.
    """
    (place, count), every = _pytest_processes(), processors()
    if count == 1 or not every:
        return contextlib.nullcontext()
    return allowed([every[(place * threads + i) % len(every)] for i in range(threads)])


class _Silent:
    """Progress that nobody looks at."""

    def phase(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def note(self, text: str) -> None: ...
