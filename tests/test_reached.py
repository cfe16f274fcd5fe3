"""A training in a worker, cut off in any step, goes on from its last epoch to the same numbers."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import interface
from harness.tensors import load_tensors, save_tensors
from harness.workers import providers
from harness.workers.desks import reached, training
from harness.workers.desks.training import TrainingDesk
from harness.workers.looks import Looks
from harness.workloads.reference import canonical
from tests.faults.callers import Wrapped

# With gradients seen; right answers counted; a loss that is summed; a path and no targets.
WORKLOADS = ("nielsen-deep", "softmax-regression", "linear-regression", "himmelblau")
EPOCHS, TIMES, SHARE = 4, reached.TIMES, reached.SHARE


class CutOff(Exception):
    """In place of a kill: nothing after it is written."""


class Cut(Wrapped):
    """A trainer whose training is cut off after `left` steps; `sizes`: of each call."""

    left = -1

    def __init__(self, trainer: Any) -> None:
        super().__init__(trainer)
        self.sizes: list[int] = []

    def step(self, batch: Any) -> Any:
        return self.after(1, self.trainer.step(batch))

    def after(self, steps: int, loss: Any) -> Any:
        self.sizes.append(steps)
        self.left -= steps
        if self.left <= 0 <= self.left + steps - 1:
            raise CutOff
        return loss


class CutMany(Cut):
    """The same that takes many steps as one call."""

    def run(self, batches: list[Any]) -> list[float]:
        steps = [self.trainer.wait(self.trainer.step(batch)) for batch in batches]
        found: list[float] = self.after(len(batches), steps)
        return found


class Ground:
    """A desk with a little data of a workload, and a schedule of some epochs with short batches."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        workload = providers.find(name)[0]
        size = min(workload.batch_size or 4, 4)
        self.workload = workload = msgspec.structs.replace(workload, batch_size=size, tests=7)
        rng = np.random.default_rng(3)
        # Where an accuracy is counted a short batch ends an epoch; else a call may go beyond it.
        n = 10 if workload.y == "class" else 12
        shape = workload.outputs if workload.y == "number" else ()
        kinds = {"class": lambda rows: np.arange(rows) % 2, "none": lambda rows: np.zeros(rows)}
        made = kinds.get(workload.y, lambda rows: rng.random((rows, *shape), np.float32))
        for part, rows in (("train", n), ("test", 7)):
            np.save(folder / f"{part}_x.npy", rng.random((rows, *workload.x), np.float32))
            np.save(folder / f"{part}_y.npy", made(rows))
        slots = canonical.schedule(n, size, EPOCHS)
        order = np.stack([rng.permutation(n) for _ in range(EPOCHS)])
        save_tensors(
            str(folder / "schedule"),
            {"order": order, "slots": np.array(slots, np.int64), "seed": np.array(5)},
        )
        save_tensors(str(folder / "state"), canonical.initial_state(workload, 5))
        self.steps = len(slots)
        each = self.steps // EPOCHS
        self.ends = [each * (epoch + 1) - 1 for epoch in range(EPOCHS)]
        self.evaluations = self.ends if workload.y == "class" else []

    def train(
        self,
        out: Path,
        cut: int = -1,
        path: str = "",
        many: bool = False,
        kind: type[Cut] | None = None,
    ) -> Cut:
        """In a desk of its own, as in a process of its own; cut off after so many steps."""
        desk = TrainingDesk(0, lambda done, total: None)
        desk.start(
            *("backends.numpy:Backend", "cpu", "float32", 1, "plain"),
            *(msgspec.to_builtins(self.workload), None, None),
        )
        files = (str(self.folder / f"{name}.npy") for name in ("train_x", "train_y"))
        desk.data(*files, *(str(self.folder / f"test_{name}.npy") for name in "xy"))
        trainer = (kind or (CutMany if many else Cut))(desk._trainer)
        trainer.left = cut
        desk._trainer = trainer
        out.mkdir(exist_ok=True)
        desk.train(
            *(str(self.folder / "state"), str(self.folder / "schedule")),
            *(self.ends[-1:], self.evaluations, 2, str(out), self.ends, path),
        )
        return trainer


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ground]]:
    # Written down whenever an epoch ends, however little that takes.
    with mock.patch.object(reached, "SHARE", np.inf):
        yield {name: Ground(name, tmp_path_factory.mktemp(name)) for name in WORKLOADS}


def told(out: Path) -> dict[str, dict[str, Any]]:
    """All that a training left but times and where it was cut off."""
    files = [file for file in out.iterdir() if not file.name.startswith(reached.STEM)]
    tensors = {file.name: load_tensors(str(file)) for file in files}
    return {
        name: {n: v.tolist() for n, v in of.items() if n not in (*TIMES, "went_on")}
        for name, of in tensors.items()
    }


@given(
    name=st.sampled_from(WORKLOADS),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=3),
    many=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_it_ends_with_the_same_files_bit_for_bit(grounds, name, cuts, many) -> None:
    ground = grounds[name]
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole"), Path(folder, "cut")
        sizes = ground.train(whole, many=many).sizes
        path, parts, at = "", [], 0
        for steps in cuts:
            with contextlib.suppress(CutOff):
                ground.train(cut, cut=steps, path=path, many=many)
                break  # there were not so many left
            if (found := reached.find(cut)) is None:
                shutil.rmtree(cut)
            elif str(found) != path:
                path = str(found)
            # From the last epoch that was whole, or made as one call with steps of the next.
            ended = [end + 1 for end in ground.ends if end + 1 < at + steps - (1 if many else 0)]
            at = len(load_tensors(path)["losses"]) if path else 0
            assert at >= max(ended, default=0)
            parts += [at] if path else []
        if not (cut / "series").exists():
            trained = ground.train(cut, path=path, many=many)
            assert trained.sizes == sizes[len(sizes) - len(trained.sizes) :]
        assert told(cut) == told(whole)
        series = load_tensors(f"{cut}/series")
        assert series.get("went_on", np.zeros(0)).tolist() == sorted({*parts})
        # At the end of an epoch, or with the steps that were made as one with its last.
        ends = {end + 1 + more for end in ground.ends for more in range(2 if many else 1)}
        assert {*parts} <= ends
        assert len(series["step_ns"]) == ground.steps
        # Right answers are counted before every update, also by who makes many steps at once.
        assert ground.workload.counts_training is ("right" in series)
        assert len(series.get("right", series["losses"])) == ground.steps


ALONE = " ".join(["put step put wait step put wait step wait"] * EPOCHS)
# The first alone, since it compiles; the last of every epoch is looked at.
QUEUED = "put step put wait step put step wait wait " + " ".join(
    ["put step put step put wait wait step wait"] * (EPOCHS - 1)
)


@pytest.mark.parametrize(
    ("queued", "tiny", "order"), [(2, 9, ALONE), (9, 0, ALONE), (2, 0, QUEUED)]
)
def test_steps_are_queued_and_the_next_batch_put_meanwhile_unless_it_is_looked_at(
    grounds, tmp_path, monkeypatch, queued, tiny, order
) -> None:
    took, calls, now = {"put": 100, "step": 3, "wait": 4}, [], 0

    def noted(name: str) -> Any:
        def call(trainer: Cut, what: Any) -> Any:
            nonlocal now
            calls.append(name)
            now += took[name]
            return getattr(trainer.trainer, name)(what)

        return call

    Noted = type("Noted", (Cut,), {name: noted(name) for name in took})

    monkeypatch.setattr(training, "clock", lambda: now)
    monkeypatch.setattr(training, "QUEUED", queued)
    monkeypatch.setattr(interface, "MOST_DRAWN", tiny)
    ground = grounds["linear-regression"]  # nothing but its epochs' ends is looked at
    ground.train(tmp_path, kind=Noted)
    assert " ".join(calls) == order
    series = load_tensors(f"{tmp_path}/series")
    assert series["step_ns"].tolist() == [7] * ground.steps
    assert series["put_ns"].tolist() == [100] * ground.steps


def test_it_is_written_as_often_as_costs_little(tmp_path: Path, monkeypatch) -> None:
    now, steps, written = 0, 400, []

    def write(folder: Path, stem: str, data: bytes) -> None:
        nonlocal now
        written.append(now)
        now += 10

    monkeypatch.setattr(reached, "SHARE", SHARE)
    monkeypatch.setattr(reached.time, "perf_counter_ns", lambda: now)
    monkeypatch.setattr(reached, "write_sealed", write)
    looks = Looks(providers.find("softmax-regression")[0], np.ones(steps))
    far = reached.Reached(str(tmp_path), "", range(steps), looks)
    for step in range(steps):
        now += 7
        far.keep(range(step, step + 1), dict)
    assert written[0] == 7  # the first epoch's end
    # Each costs 10: in a twentieth of the time, and no seldomer than that asks.
    assert {b - a - 10 for a, b in itertools.pairwise(written)} == {203}


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_a_checkpoint_is_not_believed_once_a_byte_of_it_is_another(grounds, data) -> None:
    ground = grounds["softmax-regression"]
    with tempfile.TemporaryDirectory() as name:
        with pytest.raises(CutOff):
            ground.train(Path(name), cut=ground.steps)
        path = reached.find(Path(name))
        assert path is not None
        known = [file for file in Path(name).iterdir() if file.name != f"state-{ground.ends[-1]}"]
        known = [file for file in known if file.name != f"outputs-{ground.ends[-1]}"]
        file = data.draw(st.sampled_from(sorted(known)))
        held = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(held)))
        if data.draw(st.booleans()) and place < len(held):
            held[place] ^= 1 << data.draw(st.integers(0, 7))
        else:
            held[place:] = b"more" if place == len(held) else b""
        file.write_bytes(held)
        assert reached.find(Path(name)) is None
        file.unlink()
        assert reached.find(Path(name)) is None
