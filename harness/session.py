"""Drives workers through a plan and fills one Record. Holds the run's state; judges nothing.

The order: known answers of the shared code; all workers import at once while the judge trains;
then one worker computes at a time: teacher-forced batches, float64 lockstep, free training, and
timing in interleaved rounds. A worker that fails leaves what it measured; the others go on.
"""

from __future__ import annotations

import os
import random
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.lib.format import open_memmap
from safetensors import SafetensorError
from threadpoolctl import threadpool_limits

from backends import BACKENDS
from harness import __version__, canonical, data, known_answers, measure
from harness.errors import HarnessError, InputError
from harness.exchange import load_tensors, save_tensors
from harness.facts import describe_dataset, describe_machine, now
from harness.interface import Array, Params
from harness.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.measure import Wanted
from harness.plan import Plan, checkpoint_steps
from harness.record import (
    FINISHED,
    INTERRUPTED,
    NO_SPACE,
    Case,
    Process,
    Record,
    Results,
    Round,
    check_folder,
    new_run_folder,
    why,
    write,
)
from harness.reference import REFERENCES, sgd
from harness.scratch import scratch_bytes, scratch_folder
from harness.screening import UNIT_ROUNDOFF, screen
from harness.signals import undisturbed
from harness.workloads import PROBES

# Probe batches are chosen from so many samples: enough for 256 clear and bright ones.
PROBE_POOL = 4096

# What reading a worker's answer raises where it is cut off, misnamed or of the wrong kind.
UNUSABLE = (SafetensorError, KeyError, ValueError, TypeError, FileNotFoundError)

Key = tuple[str, str]  # label, dtype of the process


class Progress(Protocol):
    """Where a session says how far it is."""

    def phase(self, name: str, total: int) -> None:
        """A new stretch of work of so many units begins."""

    def advance(self, done: int) -> None:
        """So many units of the present phase are done."""

    def note(self, text: str) -> None:
        """One line the user must see."""


class Session:
    """One run in progress: plan, data, live workers, and the record being filled."""

    def __init__(self, plan: Plan, record: Record, folder: Path, scratch: Path, progress: Progress):
        self.plan = plan
        self.record = record
        self.scratch = scratch
        self.progress = progress
        self.judge = REFERENCES[plan.workload.name]
        self.workers: dict[Key, Worker] = {}
        self.processes: dict[Key, Process] = {}
        self._logs = folder / "logs"

    # -- the run, step by step ---------------------------------------------------------------

    def check_shared_code(self) -> None:
        """Known answers first: a mismatch is the harness's own failure."""
        self.record.known_answers = known_answers.check_shared_code()
        self._refuse_wrong_answers()

    def prepare(self, dataset: data.Dataset) -> None:
        """Pixels and labels as files that every worker maps; schedule and orders of each seed."""
        self.record.dataset = describe_dataset(dataset)
        train, test = (
            reserve(self.scratch / f"{name}.npy", (len(images), images[0].size))
            for name, images in (("x", dataset.train_images), ("test_x", dataset.test_images))
        )
        self.x, self.y = canonical.training_set(dataset, train)
        self.test_x, self.test_y = canonical.evaluation_set(dataset, test)
        self.record.known_answers += known_answers.check_pixels(dataset, self.x, self.test_x)
        self._refuse_wrong_answers()
        np.save(self._file("y.npy"), self.y)
        np.save(self._file("test_y.npy"), self.test_y)
        workload, n = self.plan.workload, len(self.x)
        self.slots = canonical.schedule(n, workload.batch_size, workload.epochs, self.plan.steps)
        self.rows = np.array([slot.stop - slot.start for slot in self.slots])
        self.epochs = max(slot.epoch for slot in self.slots) + 1
        self.evaluations = [
            step
            for step, slot in enumerate(self.slots)
            if step + 1 == len(self.slots) or self.slots[step + 1].epoch != slot.epoch
        ]
        if self.plan.steps is None:
            last = min(self.plan.lockstep_epochs, self.epochs) - 1
            self.lockstep_steps = self.evaluations[last] + 1
        else:
            self.lockstep_steps = len(self.slots)
        self.checkpoints = checkpoint_steps(self.plan, len(self.slots))
        self.record.lockstep_steps = [done - 1 for done in self._snapshots()]
        for seed in self.plan.seeds:
            order = np.stack([canonical.epoch_order(seed, e, n) for e in range(self.epochs)])
            if seed == self.plan.seeds[0]:
                self.order = order
                short = np.array(self.slots[: self.lockstep_steps], dtype=np.int64)
                save_tensors(self._file(f"lockstep-{seed}"), {"order": order, "slots": short})
            slots = np.array(self.slots, dtype=np.int64)
            save_tensors(self._file(f"schedule-{seed}"), {"order": order, "slots": slots})
            save_tensors(self._file(f"initial-{seed}"), canonical.initial_params(workload, seed))

    def _refuse_wrong_answers(self) -> None:
        wrong = [answer.name for answer in self.record.known_answers if answer.got != answer.want]
        if wrong:
            raise HarnessError(
                f"known answers of the shared code: {'; '.join(wrong)}: not what is pinned; "
                "nothing was compared, since every backend would share the mistake"
            )

    def start_workers(self) -> None:
        """Start every process and let all import at once; answers are collected later."""
        self._logs.mkdir()
        for label, configured in self.plan.labels.items():
            results = self.record.results.setdefault(label, Results())
            if label in self.plan.skipped:
                reason = self.plan.skipped[label]
                results.processes.append(
                    Process(label=label, dtype=configured.dtype, status="skipped", reason=reason)
                )
                continue
            for dtype in [configured.dtype] + (["float64"] if configured.twin else []):
                key = (label, dtype)
                process = Process(label=label, dtype=dtype, status="ok")
                self.processes[key] = process
                results.processes.append(process)
                entry = BACKENDS[configured.backend]
                with self._containing(key):
                    worker = Worker(
                        f"{label}-{dtype}",
                        self.record.run,
                        configured.python,
                        environment(self.plan.threads, dict(entry.environment)),
                        self.plan.threads,
                        self._logs,
                        self.scratch,
                    )
                    self.workers[key] = worker
                    worker.ask(
                        "start",
                        self.plan.timeouts.start_s,
                        module=entry.module,
                        device=configured.device,
                        dtype=dtype,
                        threads=self.plan.threads,
                        variant=configured.variant,
                        workload=msgspec.to_builtins(self.plan.workload),
                        plant=configured.plant,
                        memory_headroom=self.plan.memory_headroom,
                    )

    def train_judge(self) -> None:
        """The judge trains once in float64; its parameters before each checkpoint are kept."""
        workload = self.plan.workload
        initial = canonical.initial_params(workload, self.plan.seeds[0])
        params = {name: value.astype(np.float64) for name, value in initial.items()}
        steps = max([self.lockstep_steps, *(c + 1 for c in self.checkpoints)])
        keep = {*self.checkpoints, *self._snapshots()}
        self.judge_losses: list[float] = []
        self.progress.phase("judge", steps)
        # One thread while every core is busy importing: two would wait for each other far longer
        # than they compute (50 ms a step in place of 6).
        threads = threadpool_limits(1)
        for step in range(steps):
            if step % 20 == 0 and all(worker.has_answered() for worker in self.workers.values()):
                threads.restore_original_limits()
            if step in keep:
                save_tensors(self._file(f"judge-{step}"), params)
            rows = self._batch(step)
            x = self.x[rows].astype(np.float64)
            loss, grads = self.judge.loss_and_grads(params, x, self.y[rows])
            sgd(params, grads, workload.lr)
            self.judge_losses.append(loss)
            self.progress.advance(step + 1)
        threads.restore_original_limits()
        save_tensors(self._file(f"judge-{steps}"), params)

    def _snapshots(self) -> list[int]:
        """Numbers of steps done after which lockstep compares parameters, ascending."""
        inside = [c for c in self.checkpoints if 0 < c < self.lockstep_steps]
        ends = [e + 1 for e in self.evaluations if e + 1 <= self.lockstep_steps]
        return sorted({*inside, *ends, self.lockstep_steps})

    def _batch(self, step: int) -> Array:
        slot = self.slots[step]
        rows: Array = self.order[slot.epoch, slot.start : slot.stop]
        return rows

    def await_workers(self) -> None:
        """Collect what the workers say of themselves, and hand out the data."""
        self.progress.phase("start workers", len(self.workers))
        for done, (key, worker) in enumerate(list(self.workers.items()), 1):
            with self._containing(key):
                process = self.processes[key]
                started = worker.answer()
                process.facts = started["facts"]
                process.import_ns, process.build_ns = started["import_ns"], started["build_ns"]
                worker.call(
                    "data",
                    self.plan.timeouts.command_s,
                    train_x=self._file("x.npy"),
                    train_y=self._file("y.npy"),
                    test_x=self._file("test_x.npy"),
                    test_y=self._file("test_y.npy"),
                )
            self.progress.advance(done)

    def probe_precision(self) -> None:
        """A product that must not round, in every process (see `measure.precision_operands`)."""
        for key, worker in self._live():
            with self._containing(key):
                for name, a, b, want in measure.precision_operands(key[1]):
                    out = self._fresh("op")
                    save_tensors(self._file("arguments"), {"0": a, "1": b})
                    arguments = self._file("arguments")
                    worker.call(
                        "op",
                        self.plan.timeouts.command_s,
                        name="matmul",
                        arguments=arguments,
                        out=out,
                    )
                    found = measure.identical(
                        f"product, {name}",
                        load_tensors(out)["0"],
                        want,
                        process=key[1],
                        case="precision",
                        step=None,
                        rung="forward",
                    )
                    self.record.results[key[0]].measurements.append(found)

    def teacher_force(self) -> None:
        """Every checkpoint and probe batch, for every process, at the judge's parameters."""
        seed = self.plan.seeds[0]
        initial = canonical.initial_params(self.plan.workload, seed)
        pool = self.order[0][:PROBE_POOL]
        probes = PROBES[self.plan.workload.name](
            initial, self.x[pool], self.y[pool], self._clear_at
        )
        self.progress.phase("teacher-forced", len(self.checkpoints) + len(probes))
        done = 0
        for step in self.checkpoints:
            params = load_tensors(self._file(f"judge-{step}"))
            rounded = {name: value.astype(np.float32) for name, value in params.items()}
            slot = self.slots[step]
            try:
                rows, replaced = screen(
                    self.order[slot.epoch],
                    slot.start,
                    slot.stop,
                    partial(self._clear_rows, rounded),
                )
            except ValueError as error:
                raise InputError(f"too few samples of the data set are usable: {error}") from None
            case = Case(case=f"step {step}", step=step, rows=len(rows), replaced=replaced)
            self._case(case, params, self.x[rows], self.y[rows], {"rows": rows}, centred=False)
            self.progress.advance(done := done + 1)
        for probe in probes:
            case = Case(case=probe.case, step=None, rows=len(probe.y), replaced=0)
            given = {"x": probe.x, "y": probe.y}
            self._case(case, probe.params, probe.x, probe.y, given, centred=probe.centred)
            self.progress.advance(done := done + 1)

    def _clear_rows(self, params: Params, rows: Array) -> Array:
        return self._clear_at(params, self.x[rows])

    def _clear_at(self, params: Params, x: Array) -> Array:
        """Which rows of x have no pre-activation within rounding of a kink: bool (n,)."""
        limit = self.plan.screen_margin * UNIT_ROUNDOFF
        wide = {name: value.astype(np.float64) for name, value in params.items()}
        clear: Array = self.judge.kink_margin(wide, x.astype(np.float64)) >= limit
        return clear

    def _case(
        self,
        case: Case,
        params: Params,
        x: Array,
        y: Array,
        given: dict[str, Array],
        *,
        centred: bool,
    ) -> None:
        """One batch at given parameters, in every live process, against the judge."""
        self.record.cases.append(case)
        save_tensors(self._file("batch"), given)
        wanted: dict[str, Wanted] = {}
        for key, worker in self._live():
            if key[1] not in wanted:
                wanted[key[1]] = self._wanted(params, x, y, key[1], centred=centred)
            with self._containing(key):
                out = self._fresh("case")
                worker.call(
                    "case",
                    self.plan.timeouts.command_s,
                    params=self._file(f"params-{key[1]}"),
                    batch=self._file("batch"),
                    out=out,
                )
                self.record.results[key[0]].measurements += measure.teacher_forced(
                    load_tensors(out),
                    wanted[key[1]],
                    y=y,
                    lr=self.plan.workload.lr,
                    process=key[1],
                    case=case.case,
                    step=case.step,
                )

    def _wanted(self, params: Params, x: Array, y: Array, dtype: str, *, centred: bool) -> Wanted:
        """What processes of a dtype are given, and the judge's word on those very values."""
        held = {name: value.astype(dtype) for name, value in params.items()}
        save_tensors(self._file(f"params-{dtype}"), held)
        wide = {name: value.astype(np.float64) for name, value in held.items()}
        x64 = x.astype(np.float64)
        loss, grads = self.judge.loss_and_grads(wide, x64, y)
        logits = self.judge.logits(wide, x64)
        return Wanted(held, x.astype(dtype), logits, loss, grads, centred)

    def lockstep(self) -> None:
        """Float64, free-running from step 0, in every float64 process, against the judge."""
        keys = [key for key, _ in self._live() if key[1] == "float64"]
        self.progress.phase("lockstep", len(keys) * self.lockstep_steps)
        snapshots = self._snapshots()
        for number_, key in enumerate(keys):
            with self._containing(key):
                out = self._train(
                    key,
                    self.plan.seeds[0],
                    "lockstep",
                    [s - 1 for s in snapshots],
                    number_ * self.lockstep_steps,
                )
                losses = load_tensors(f"{out}/series")["losses"]
                before = 0
                for after in snapshots:
                    self.record.results[key[0]].measurements += measure.lockstep(
                        load_tensors(f"{out}/params-{after - 1}"),
                        load_tensors(self._file(f"judge-{after}")),
                        losses[before:after],
                        np.array(self.judge_losses[before:after]),
                        before,
                    )
                    before = after

    def train(self) -> None:
        """Free training of every label in its own dtype, for every seed."""
        todo = [
            (key, seed)
            for key, _ in self._live()
            for seed in self.plan.seeds
            if key[1] == self.plan.labels[key[0]].dtype and not self._trained(key, seed)
        ]
        self.progress.phase("training", len(todo) * len(self.slots))
        for number_, (key, seed) in enumerate(todo):
            if key in self.workers:
                with self._containing(key):
                    self._train(key, seed, "schedule", [], number_ * len(self.slots))

    def _trained(self, key: Key, seed: int) -> bool:
        """Whether a whole training is there already: lockstep may have been one."""
        done = self.record.results[key[0]].training
        return any(t.whole and (t.dtype, t.seed) == (key[1], seed) for t in done)

    def _train(self, key: Key, seed: int, kind: str, snapshots: list[int], done: int) -> str:
        """Train one worker through "schedule" or "lockstep"; stores the series; the folder."""
        label, dtype = key
        steps = len(self.slots) if kind == "schedule" else self.lockstep_steps
        ends = [step for step in self.evaluations if step < steps]
        # The accuracy of a training cut short says nothing, and costs a compilation.
        evaluations = ends if steps == len(self.slots) else []
        folder = self.scratch / "train"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        limits = self.plan.timeouts
        self.workers[key].call(
            "train",
            limits.command_s + steps * limits.per_step_s,
            lambda at, _: self.progress.advance(done + at),
            params=self._file(f"initial-{seed}"),
            schedule=self._file(f"{kind}-{seed}"),
            snapshots=snapshots,
            evaluations=evaluations,
            out=str(folder),
        )
        self.progress.advance(done + steps)
        series = load_tensors(f"{folder}/series")
        logits = [load_tensors(f"{folder}/logits-{e}")["logits"] for e in evaluations]
        trained = measure.training(series, logits, self.test_y, self.rows[:steps], ends)
        trained.dtype, trained.seed, trained.whole = dtype, seed, steps == len(self.slots)
        self.record.results[label].training.append(trained)
        return str(folder)

    def end_twins(self) -> None:
        """End the float64 processes beside float32 ones: timing wants a quiet machine."""
        for key, _ in self._live():
            if key[1] != self.plan.labels[key[0]].dtype:
                with self._containing(key):
                    self._say_goodbye(key)

    def time_steps(self) -> None:
        """Interleaved rounds: each worker one block a round, in random order."""
        timing, seed = self.plan.timing, self.plan.seeds[0]
        full = len(self.x) // self.plan.workload.batch_size
        steps = min(timing.steps, full)
        total = timing.warmup_rounds + timing.rounds
        self.progress.phase("timing", total)
        shuffle = random.Random(self.record.run)
        for round_ in range(total if steps else 0):
            keys = [key for key, _ in self._live()]
            shuffle.shuffle(keys)
            for place, key in enumerate(keys):
                with self._containing(key):
                    block = self.workers[key].call(
                        "block",
                        self.plan.timeouts.command_s,
                        params=self._file(f"initial-{seed}"),
                        schedule=self._file(f"schedule-{seed}"),
                        first=round_ * steps % (full - steps + 1),
                        warmup_steps=timing.warmup_steps,
                        steps=steps,
                        products=timing.products,
                    )
                    found = Round(round=round_, place=place, **block)
                    self.record.results[key[0]].rounds.append(found)
            self.progress.advance(round_ + 1)

    def finish(self) -> None:
        """End every worker in good order."""
        for key, _ in self._live():
            with self._containing(key):
                self._say_goodbye(key)

    # -- workers ------------------------------------------------------------------------------

    def _live(self) -> list[tuple[Key, Worker]]:
        return list(self.workers.items())

    def _file(self, name: str) -> str:
        return str(self.scratch / name)

    def _fresh(self, name: str) -> str:
        """A file for a worker to write: what another left under the name is gone."""
        path = self.scratch / name
        path.unlink(missing_ok=True)
        return str(path)

    @contextmanager
    def _containing(self, key: Key) -> Iterator[None]:
        """What a worker does wrong ends that worker only, and is recorded with its reason."""
        process = self.processes[key]
        try:
            yield
        except WorkerUnavailable as error:
            process.status, process.reason = "skipped", str(error)
            self.end_worker(key, grace_s=0)
            configured = self.plan.labels[key[0]]
            if configured.asked_for and key[1] == configured.dtype:
                raise InputError(f"--backend {key[0]}: not available: {error}") from None
        except WorkerFailed as error:
            self._fail(key, str(error))
        except UNUSABLE as error:
            self._fail(key, f"unusable answer: {type(error).__name__}: {error}")

    def _fail(self, key: Key, reason: str) -> None:
        process = self.processes[key]
        process.status, process.reason = "failed", " ".join(reason.split())
        self.progress.note(f"{key[0]} ({key[1]}) failed: {process.reason}")
        self.end_worker(key, grace_s=0)

    def _say_goodbye(self, key: Key) -> None:
        worker, process = self.workers[key], self.processes[key]
        usage = worker.call("usage", self.plan.timeouts.command_s)
        process.peak_rss_bytes = usage["peak_rss_bytes"]
        process.first_step_ns = usage["first_step_ns"]
        worker.call("close", self.plan.timeouts.command_s)
        self.end_worker(key, grace_s=2.0)

    def end_worker(self, key: Key, *, grace_s: float) -> None:
        """End one worker's process group and keep the last of what it printed."""
        worker = self.workers.pop(key, None)
        if worker is None:
            return
        worker.end(grace_s=grace_s)
        process = self.processes[key]
        with suppress(OSError):
            process.stdout_bytes = worker.stdout.stat().st_size
            process.stderr_bytes = worker.stderr.stat().st_size
        if process.status == "failed":
            process.stderr_tail = worker.stderr_tail()

    def end_all(self) -> None:
        """End whatever still lives, at once; used when a run stops early."""
        for key in list(self.workers):
            self.end_worker(key, grace_s=0)

    def run(self, dataset: data.Dataset) -> None:
        """Every step in order."""
        self.check_shared_code()
        self.prepare(dataset)
        self.start_workers()
        self.train_judge()
        self.await_workers()
        self.probe_precision()
        self.teacher_force()
        self.lockstep()
        self.end_twins()
        self.train()
        self.time_steps()
        self.finish()


def reserve(path: Path, shape: tuple[int, int]) -> Array:
    """A mapped float32 .npy file with its room on the disk taken; OSError where there is none."""
    array = open_memmap(path, "w+", np.float32, shape)
    if hasattr(os, "posix_fallocate"):
        # A sparse file that runs out of disk while it is filled ends the process, without a word.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def run(plan: Plan, results_dir: Path, progress: Progress) -> tuple[Record, Path]:
    """Carry out a plan and store its record; the record and its folder.

    Whatever stops the run (a signal, the harness's own failure), no process is left and what was
    measured is stored; the record says what happened. Raises InputError, with nothing written,
    where the data, the results directory or a backend asked for by name cannot be used.
    """
    check_folder(results_dir)
    directory = Path(plan.data_dir) if plan.data_dir is not None else None
    dataset = data.load(plan.dataset, directory, warn=progress.note)
    least = 2 * plan.workload.batch_size
    if len(dataset.train_labels) < least:
        raise InputError(
            f"data set {dataset.source}: {len(dataset.train_labels)} training images, and two "
            f"batches need {least}"
        )
    with scratch_folder(scratch_bytes(plan)) as scratch:
        folder = new_run_folder(results_dir)
        record = Record(
            run=folder.name,
            started=now(),
            seconds=0.0,
            ended=FINISHED,
            harness_version=__version__,
            plan=plan,
            machine=describe_machine(),
            dataset=None,
            results={},
        )
        before = time.monotonic()
        session = Session(plan, record, folder, scratch, progress)
        full: InputError | None = None
        try:
            session.run(dataset)
        except KeyboardInterrupt:
            record.ended = INTERRUPTED
        except InputError:
            session.end_all()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except HarnessError as error:
            record.ended = str(error)
        except OSError as error:
            record.ended = f"{type(error).__name__}: {error}"
            if error.errno in NO_SPACE:
                full = InputError(f"{error.filename or scratch}: {why(error)}; free some space")
        except Exception as error:
            record.ended = f"{type(error).__name__}: {error} (a mistake in the harness itself)"
            with suppress(OSError):
                (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        with undisturbed():
            session.end_all()
            record.seconds = time.monotonic() - before
            write(record, folder)
    if full is not None:
        raise full
    return record, folder
