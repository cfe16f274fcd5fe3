"""Drives workers through a plan and fills one Record. Holds the run's state; judges nothing.

The order: known answers of the shared code; all workers import at once while the judge trains;
then one worker computes at a time: a product that must not round, the same training twice,
teacher-forced batches, float64 lockstep, free training, single operators, and timing in
interleaved rounds. A worker that fails leaves what it measured; the others go on.
"""

from __future__ import annotations

import random
import shutil
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from harness import __version__, data, known_answers, measure
from harness.canonical import Slot
from harness.checks.numbers import share
from harness.course import Course
from harness.crew import Crew, Key
from harness.envelope import Replica, clear_batches, train_replica
from harness.errors import HarnessError, InputError
from harness.exchange import load_tensors, save_tensors
from harness.facts import describe_dataset, describe_machine, now
from harness.interface import Array, Params
from harness.judge import HarnessJudge, Judge, LabelJudge, params_after
from harness.launch import WorkerFailed
from harness.limits import RUNGS, limit_for
from harness.measure import Wanted
from harness.plan import REFERENCE, SMALL_LEAST_LOSS, Plan
from harness.progress import Progress
from harness.record import (
    FINISHED,
    INTERRUPTED,
    NO_SPACE,
    Case,
    Kept,
    Measurement,
    Record,
    Results,
    Round,
    Training,
    check_folder,
    new_run_folder,
    number,
    why,
    write,
)
from harness.record import Replica as StoredReplica
from harness.reference import REFERENCES
from harness.scratch import scratch_bytes, scratch_folder
from harness.signals import undisturbed
from harness.workloads import PROBES

# Probe batches are chosen from so many samples: enough for 256 clear and bright ones.
PROBE_POOL = 4096
# A divergence of lockstep beyond so many steps is not kept as a reproduction: 10 MB of images.
LONGEST_KEPT = 50


class Session:
    """One run in progress: plan, data, live workers, and the record being filled."""

    def __init__(self, plan: Plan, record: Record, folder: Path, scratch: Path, progress: Progress):
        self.plan = plan
        self.record = record
        self.folder = folder
        self.scratch = scratch
        self.progress = progress
        self.reference = REFERENCES[plan.workload.name]
        self.crew = Crew(plan, record.run, folder / "logs", scratch, progress)
        self.seed = plan.seeds[0]

    # -- before anything is compared ------------------------------------------------------------

    def check_shared_code(self) -> None:
        """Known answers first: a mismatch is the harness's own failure."""
        self.record.known_answers = known_answers.check_shared_code()
        self._refuse_wrong_answers()

    def prepare(self, dataset: data.Dataset) -> None:
        """Data and schedules as files that every worker maps."""
        self.record.dataset = describe_dataset(dataset)
        self.course = course = Course(self.plan, dataset, self.scratch)
        self.record.known_answers += known_answers.check_pixels(dataset, course.x, course.test_x)
        self._refuse_wrong_answers()
        self.record.lockstep_steps = [done - 1 for done in course.snapshots]
        self.whole = course.lockstep_steps == len(course.slots)

    def _refuse_wrong_answers(self) -> None:
        wrong = [answer.name for answer in self.record.known_answers if answer.got != answer.want]
        if wrong:
            raise HarnessError(
                f"known answers of the shared code: {'; '.join(wrong)}: not what is pinned; "
                "nothing was compared, since every backend would share the mistake"
            )

    def start_workers(self) -> None:
        """Start every process and let all import at once; answers are collected later."""
        self.crew.start(self.record)

    def await_workers(self) -> None:
        """Collect what the workers say of themselves, and hand out the data."""
        names = {"train_x": "x", "train_y": "y", "test_x": "test_x", "test_y": "test_y"}
        self.crew.await_started({k: self.course.file(f"{v}.npy") for k, v in names.items()})

    def train_judge(self) -> None:
        """The judge trains; its parameters at checkpoints and snapshots, and its logits, are kept.

        A label that is the reference must have started; the harness's own trains meanwhile.
        """
        self.judge: Judge
        if self.plan.reference == REFERENCE:
            self.judge = HarnessJudge(self.reference, self.course, self._before_judge_step)
        else:
            name, _, dtype = self.plan.reference.rpartition(":")
            if (name, dtype) not in self.crew.workers:
                reason = self.crew.processes[name, dtype].reason
                raise HarnessError(f"the reference {self.plan.reference} cannot run: {reason}")
            self.judge = LabelJudge(self.crew, (name, dtype), self.course)
        # One thread while every core is busy importing: two would wait for each other far longer
        # than they compute (50 ms a step in place of 6).
        self.judge_threads = threadpool_limits(1)
        keep = {
            *(c - 1 for c in self.course.checkpoints),
            *(s - 1 for s in self.course.snapshots),
            *self.course.late,
        }
        self.progress.phase("judge", len(self.course.slots))
        try:
            self._find_start_batches()
            self._train_judge("schedule", self.seed, keep, self.course.ends)
            if self.plan.trajectory is not None:
                after = {done - 1 for done in self._start_after()}
                self._train_judge("start", self.seed, after, [])
        finally:
            self.judge_threads.restore_original_limits()

    def _before_judge_step(self, step: int) -> None:
        if step % 20 == 0 and self.crew.all_answered():
            self.judge_threads.restore_original_limits()
        self.progress.advance(step)

    def _train_judge(
        self, kind: str, seed: int, snapshots: set[int], evaluations: list[int]
    ) -> None:
        folder = self._judge_folder(kind, seed)
        self.judge.train(kind, seed, snapshots, evaluations, folder)
        if kind == "schedule":
            trained = self._training(folder, "float64", seed, evaluations)
            self.record.reference.append(trained)

    def _judge_folder(self, kind: str, seed: int) -> Path:
        return self.scratch / f"judge-{kind}-{seed}"

    def _judged(self, kind: str, done: int) -> Params:
        """The judge's parameters after so many steps, float64."""
        folder = self._judge_folder(kind, self.seed)
        return params_after(folder, done, self.course.initial(self.seed))

    # -- agreement -------------------------------------------------------------------------------

    def probe_precision(self) -> None:
        """A product that must not round, in every process (see `measure.precision_operands`)."""
        for key in self.crew.live():
            for name, a, b, want in measure.precision_operands(key[1]):
                with self.crew.containing(key):
                    arguments = self.course.file("arguments")
                    save_tensors(arguments, {"0": a, "1": b})
                    got = self.crew.answer(key, "op", name="matmul", arguments=arguments)
                    found = measure.identical(
                        f"product, {name}",
                        got["0"],
                        want,
                        process=key[1],
                        case="precision",
                        step=None,
                        rung="forward",
                    )
                    self._results(key).measurements.append(found)
                if key not in self.crew.workers:
                    break

    def _results(self, key: Key) -> Results:
        return self.record.results[key[0]]

    def _find_start_batches(self) -> None:
        """The schedule of the start: the first steps of epoch 0 without samples near a kink."""
        chosen, course = self.plan.trajectory, self.course
        if chosen is None:
            return
        size = self.plan.workload.batch_size
        steps = min(chosen.start_steps, len(course.x) // size)
        try:
            batches, _ = clear_batches(
                self.reference,
                self.plan.workload,
                course.initial(self.seed),
                course.x,
                course.y,
                course.order[0],
                steps,
                chosen.clearance,
            )
        except ValueError as error:
            raise InputError(f"too few samples of the data set are usable: {error}") from None
        slots = [Slot(0, i * size, (i + 1) * size) for i in range(steps)]
        course.save_schedule("start", self.seed, np.concatenate(batches)[None], slots)
        self.start_steps = steps

    def _start_after(self) -> list[int]:
        """Numbers of steps after which the start is compared: the plan's, and its end."""
        assert self.plan.trajectory is not None
        after = self.plan.trajectory.start_after
        return sorted({n for n in after if n <= self.start_steps} or {self.start_steps})

    def start_twice(self) -> None:
        """A against A, in every process; the first of the two is also the trajectory's start."""
        if self.plan.trajectory is None:
            return
        after = self._start_after()
        want = {done: self._judged("start", done) for done in after}
        keys = self.crew.live()
        self.progress.phase("the start, twice", 2 * self.start_steps * len(keys))
        for place, key in enumerate(keys):
            with self.crew.containing(key):
                series = []
                for turn in range(2):
                    out = self._fresh_folder()
                    self.crew.train(
                        key,
                        self.course.file(f"initial-{self.seed}"),
                        self.course.file(f"start-{self.seed}"),
                        steps=self.start_steps,
                        snapshots=[done - 1 for done in after],
                        evaluations=[],
                        out=out,
                        done=(2 * place + turn) * self.start_steps,
                    )
                    series.append(load_tensors(f"{out}/series"))
                    if turn == 0 and key[1] == "float32":
                        self._results(key).measurements += [
                            measure.trajectory(
                                "start",
                                load_tensors(f"{out}/params-{done - 1}"),
                                want[done],
                                process=key[1],
                                after=done,
                            )
                            for done in after
                        ]
                first, second = series
                self._results(key).repeats.append(measure.repeat(first, second, key[1]))

    def _fresh_folder(self) -> Path:
        folder = self.scratch / "train"
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def teacher_force(self) -> None:
        """Every checkpoint, small batch and probe, in every process, at the judge's parameters."""
        course = self.course
        pool = course.order[0][:PROBE_POOL]
        probes = PROBES[self.plan.workload.name](
            course.initial(self.seed),
            course.x[pool],
            course.y[pool],
            lambda params, x: course.clear(params, x, self.reference),
        )
        self.progress.phase("teacher-forced", len(course.checkpoints) + len(probes))
        for done, step in enumerate(course.checkpoints, 1):
            params = self._judged("schedule", step)
            rounded = {name: value.astype(np.float32) for name, value in params.items()}
            rows, replaced = course.screened(step, rounded, self.reference)
            case = Case(case=f"step {step}", step=step, rows=len(rows), replaced=replaced)
            self._case(case, params, course.x[rows], course.y[rows], {"rows": rows})
            if step in course.small:
                self._small_cases(step, params, rows)
            self.progress.advance(done)
        for done, probe in enumerate(probes, len(course.checkpoints) + 1):
            case = Case(case=probe.case, step=None, rows=len(probe.y), replaced=0)
            given = {"x": probe.x, "y": probe.y}
            self._case(case, probe.params, probe.x, probe.y, given, centred=probe.centred)
            self.progress.advance(done)

    def _small_cases(self, step: int, params: Params, rows: Array) -> None:
        """Small batches of a checkpoint's samples that the reference is not confident of."""
        x, y = self.course.x[rows].astype(np.float64), self.course.y[rows]
        logits = self.reference.logits(params, x)
        top = logits.max(axis=1)
        losses = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
        losses -= logits[np.arange(len(y)), y]
        usable = rows[losses >= SMALL_LEAST_LOSS]
        for size in self.plan.small_sizes:
            if size <= len(usable):
                chosen = usable[:size]
                name = f"step {step}, batch of {size}"
                case = Case(case=name, step=step, rows=size, replaced=0)
                given = {"rows": chosen}
                self._case(case, params, self.course.x[chosen], self.course.y[chosen], given)

    def _case(
        self,
        case: Case,
        params: Params,
        x: Array,
        y: Array,
        given: dict[str, Array],
        *,
        centred: bool = False,
    ) -> None:
        """One batch at given parameters, in every live process, against the judge."""
        self.record.cases.append(case)
        batch = self.course.file("batch")
        save_tensors(batch, given)
        wanted: dict[str, Wanted] = {}
        for key in self.crew.live():
            if key[1] not in wanted:
                wanted[key[1]] = self._wanted(params, x, y, key[1], centred=centred)
            with self.crew.containing(key):
                got = self.crew.answer(
                    key, "case", params=self.course.file(f"params-{key[1]}"), batch=batch
                )
                found = measure.teacher_forced(
                    got,
                    wanted[key[1]],
                    y=y,
                    lr=self.plan.workload.lr,
                    process=key[1],
                    case=case.case,
                    step=case.step,
                )
                self._results(key).measurements += found
                self._keep_if_off(key, found, wanted[key[1]], y, got)

    def _wanted(self, params: Params, x: Array, y: Array, dtype: str, *, centred: bool) -> Wanted:
        """What processes of a dtype are given, and the judge's word on those very values."""
        held = {name: value.astype(dtype) for name, value in params.items()}
        save_tensors(self.course.file(f"params-{dtype}"), held)
        wide = {name: value.astype(np.float64) for name, value in held.items()}
        logits, loss, grads = self.judge.values(wide, x.astype(np.float64), y)
        return Wanted(held, x.astype(dtype), logits, loss, grads, centred)

    def lockstep(self) -> None:
        """Float64, free-running from step 0, in every float64 process, against the judge."""
        course = self.course
        keys = self.crew.live("float64")
        self.progress.phase("lockstep", len(keys) * course.lockstep_steps)
        judged = load_tensors(f"{self._judge_folder('schedule', self.seed)}/series")["losses"]
        for place, key in enumerate(keys):
            with self.crew.containing(key):
                snapshots = [done - 1 for done in course.snapshots]
                out = self._train(
                    key, self.seed, "lockstep", snapshots, place * course.lockstep_steps
                )
                losses = load_tensors(f"{out}/series")["losses"]
                before = 0
                for after in course.snapshots:
                    params = load_tensors(f"{out}/params-{after - 1}")
                    found = measure.lockstep(
                        params,
                        self._judged("schedule", after),
                        losses[before:after],
                        judged[before:after],
                        before,
                    )
                    self._results(key).measurements += found
                    self._keep_lockstep_if_off(key, found, after, params)
                    before = after

    # -- tensors kept for a reproduction ---------------------------------------------------------

    def _keep_if_off(
        self, key: Key, found: list[Measurement], wanted: Wanted, y: Array, got: dict[str, Array]
    ) -> None:
        """Keep what a teacher-forced case was given and gave, if it is this label's first."""
        worst = self._first_off(key, found)
        if worst is None:
            return
        given = {f"given.{n}": v for n, v in wanted.params.items()} | {"x": wanted.x, "y": y}
        want = {"want.logits": wanted.logits, "want.loss": np.array(wanted.loss)}
        want |= {f"want.grad.{n}": v for n, v in wanted.grads.items()}
        kept_got = {f"got.{name}": value for name, value in got.items() if name not in ("x", "y")}
        self._keep(key, worst, given | want | kept_got)

    def _keep_lockstep_if_off(
        self, key: Key, found: list[Measurement], after: int, params: Params
    ) -> None:
        """Keep the first steps' batches if lockstep is this label's first divergence."""
        worst = self._first_off(key, found)
        if worst is None or after > LONGEST_KEPT:
            return
        batches = self.course.schedule("lockstep", self.seed)[:after]
        rows = np.concatenate(batches)
        tensors = {f"given.{n}": v for n, v in self.course.initial(self.seed).items()}
        tensors |= {
            "images": np.rint(self.course.x[rows] * np.float32(255)).astype(np.uint8),
            "y": self.course.y[rows],
            "sizes": np.array([len(batch) for batch in batches]),
        }
        tensors |= {f"want.{n}": v for n, v in self._judged("schedule", after).items()}
        tensors |= {f"got.{n}": v for n, v in params.items()}
        self._keep(key, worst, tensors)

    def _first_off(self, key: Key, found: list[Measurement]) -> Measurement | None:
        """The lowest rung's measurement over its limit, if none so low was kept for the label."""
        off = [
            m
            for m in found
            if (limit := limit_for(m.rung, m.dtype, m.case)) is not None and share(m, limit) > 1
        ]
        if not off:
            return None
        first = min(off, key=lambda m: RUNGS.index(m.rung))
        kept = [k for k in self.record.kept if k.label == key[0]]
        lower = all(RUNGS.index(first.rung) < RUNGS.index(k.rung) for k in kept)
        return first if lower else None

    def _keep(self, key: Key, first: Measurement, tensors: dict[str, Array]) -> None:
        folder = self.folder / "tensors"
        folder.mkdir(exist_ok=True)
        others = []
        for kept in self.record.kept:
            if kept.label == key[0]:
                (self.folder / kept.file).unlink(missing_ok=True)
            else:
                others.append(kept)
        place = list(self.plan.labels).index(key[0])
        file = f"tensors/{place}-{key[1]}.safetensors"  # labels are no file names
        save_tensors(str(self.folder / file), tensors)
        kept = Kept(label=key[0], dtype=key[1], rung=first.rung, case=first.case, file=file)
        self.record.kept = [*others, kept]

    # -- learning --------------------------------------------------------------------------------

    def end_twins(self) -> None:
        """End the float64 processes beside float32 ones: timing wants a quiet machine."""
        for key in self.crew.live():
            if not self.crew.own(key):
                self.crew.say_goodbye(key)

    def train_reference(self) -> None:
        """The judge trains the other seeds too: accuracy is compared seed by seed."""
        others = self.plan.seeds[1:]
        if others:
            self.progress.phase("judge, other seeds", len(self.course.slots))
        for seed in others:
            self._train_judge("schedule", seed, set(), self.course.ends)

    def train(self) -> None:
        """Free training of every label in its own dtype, for every seed."""
        todo = [
            (key, seed)
            for key in self.crew.live()
            for seed in self.plan.seeds
            if self.crew.own(key) and not self._trained(key, seed)
        ]
        steps = len(self.course.slots)
        self.progress.phase("training", len(todo) * steps)
        for place, (key, seed) in enumerate(todo):
            if key in self.crew.workers:
                with self.crew.containing(key):
                    late = self.course.late if seed == self.seed else []
                    out = self._train(key, seed, "schedule", late, place * steps)
                    for end in late if key[1] == "float32" else []:
                        self._results(key).measurements.append(
                            measure.trajectory(
                                "late",
                                load_tensors(f"{out}/params-{end}"),
                                self._judged("schedule", end + 1),
                                process=key[1],
                                after=end + 1,
                            )
                        )

    def _trained(self, key: Key, seed: int) -> bool:
        """Whether a whole training is there already: lockstep may have been one."""
        done = self._results(key).training
        return any(t.whole and (t.dtype, t.seed) == (key[1], seed) for t in done)

    def _train(self, key: Key, seed: int, kind: str, snapshots: list[int], done: int) -> Path:
        """Train one worker through "schedule" or "lockstep"; stores the series; the folder."""
        steps = len(self.course.slots) if kind == "schedule" else self.course.lockstep_steps
        ends = [step for step in self.course.ends if step < steps]
        # The accuracy of a training cut short says nothing, and costs a compilation.
        evaluations = ends if steps == len(self.course.slots) else []
        out = self._fresh_folder()
        self.crew.train(
            key,
            self.course.file(f"initial-{seed}"),
            self.course.file(f"{kind}-{seed}"),
            steps=steps,
            snapshots=snapshots,
            evaluations=evaluations,
            out=out,
            done=done,
        )
        results = self._results(key)
        results.training.append(self._training(out, key[1], seed, evaluations, steps))
        if evaluations and self.crew.own(key):
            last = f"logits-{evaluations[-1]}"
            logits = load_tensors(f"{out}/{last}")["logits"]
            judged = load_tensors(f"{self._judge_folder('schedule', seed)}/{last}")["logits"]
            if logits.shape == judged.shape:
                results.churn.append(measure.churn(logits, judged, self.course.test_y, seed))
        return out

    def _training(
        self, out: Path, dtype: str, seed: int, evaluations: list[int], steps: int | None = None
    ) -> Training:
        """A training as it is stored, from the files it left."""
        steps = len(self.course.slots) if steps is None else steps
        ends = [step for step in self.course.ends if step < steps]
        series = load_tensors(f"{out}/series")
        logits = [load_tensors(f"{out}/logits-{e}")["logits"] for e in evaluations]
        trained = measure.training(
            series, logits, self.course.test_y, self.course.rows[:steps], ends
        )
        trained.dtype, trained.seed, trained.whole = dtype, seed, steps == len(self.course.slots)
        return trained

    def find_envelope(self) -> None:
        """How far replicas of the float32 reference stray: at the start, and late where asked."""
        chosen = self.plan.trajectory
        if chosen is None or not any(key[1] == "float32" for key in self.crew.processes):
            return
        late = [end + 1 for end in self.course.late]
        total = chosen.replicas * (self.start_steps + max(late, default=0))
        self.progress.phase("envelope", total)
        done = 0
        regimes = [("start", "start", self._start_after()), ("late", "schedule", late)]
        for regime, kind, after in regimes:
            if not after:
                continue
            schedule = self.course.schedule(kind, self.seed)
            want = {n: self._judged(kind, n) for n in after}
            for place in range(chosen.replicas):
                found = train_replica(
                    self.reference,
                    self.plan.workload,
                    self.course.initial(self.seed),
                    partial(self._batch, schedule),
                    after,
                    Replica(self.plan.workload, self.seed, place),
                )
                done += max(after)
                self.progress.advance(done)
                for steps, params in found.items():
                    distance, each = measure.together(params, want[steps])
                    self.record.envelope.append(
                        StoredReplica(
                            regime="start" if regime == "start" else "late",
                            replica=place,
                            after=steps,
                            distance=number(distance),
                            tensors={name: number(value) for name, value in each.items()},
                        )
                    )

    def _batch(self, schedule: list[Array], step: int) -> tuple[Array, Array]:
        rows = schedule[step]
        return self.course.x[rows], self.course.y[rows]

    # -- speed -----------------------------------------------------------------------------------

    def time_steps(self) -> None:
        """Interleaved rounds: each worker one block a round, in random order."""
        timing = self.plan.timing
        full = len(self.course.x) // self.plan.workload.batch_size
        steps = min(timing.steps, full)
        total = timing.warmup_rounds + timing.rounds
        self.progress.phase("timing", total)
        shuffle = random.Random(self.record.run)
        for round_ in range(total if steps else 0):
            keys = self.crew.live()
            shuffle.shuffle(keys)
            for place, key in enumerate(keys):
                with self.crew.containing(key):
                    block = self.crew.call(
                        key,
                        "block",
                        params=self.course.file(f"initial-{self.seed}"),
                        schedule=self.course.file(f"schedule-{self.seed}"),
                        first=round_ * steps % (full - steps + 1),
                        warmup_steps=timing.warmup_steps,
                        steps=steps,
                        products=timing.products,
                        replay=round_ == timing.warmup_rounds,
                    )
                    self._results(key).rounds.append(Round(round=round_, place=place, **block))
            self.progress.advance(round_ + 1)

    def finish(self) -> None:
        """End every worker in good order."""
        for key in self.crew.live():
            self.crew.say_goodbye(key)

    # -- whole runs ------------------------------------------------------------------------------

    def begin(self, dataset: data.Dataset) -> None:
        """Everything before the first measurement."""
        self.check_shared_code()
        self.prepare(dataset)
        self.start_workers()
        if self.plan.reference == REFERENCE:
            self.train_judge()
            self.await_workers()
        else:
            self.await_workers()
            self.train_judge()

    def measure_numbers(self) -> None:
        """The rungs up to lockstep, and the trajectory's start."""
        self.probe_precision()
        self.start_twice()
        self.teacher_force()
        self.lockstep()

    def run(self, dataset: data.Dataset) -> None:
        """Every step in order."""
        self.begin(dataset)
        self.measure_numbers()
        self.end_twins()
        self.train_reference()
        self.train()
        self.find_envelope()
        self.time_steps()
        self.finish()

    def trial(self, plants: dict[str, str | None]) -> Record:
        """The rungs up to lockstep for some labels of a session that has begun; a record of those.

        Each label has a fault planted (None: clean) in its workers as they live.
        """
        labels = {
            label: msgspec.structs.replace(self.plan.labels[label], plant=plant)
            for label, plant in plants.items()
        }
        whole = self.record
        self.record = msgspec.structs.replace(
            whole,
            plan=msgspec.structs.replace(self.plan, labels=labels, skipped={}),
            cases=[],
            kept=[],
            results={label: Results(processes=whole.results[label].processes) for label in labels},
        )
        self.crew.only = labels
        try:
            self._plant(plants)
            self.measure_numbers()
            self._plant(dict.fromkeys(plants))
            trial = self.record
        finally:
            self.crew.only = None
            self.record = whole
        return msgspec.convert(msgspec.to_builtins(trial), Record)

    def _plant(self, plants: dict[str, str | None]) -> None:
        for key in self.crew.live():
            with self.crew.containing(key):
                self.crew.call(key, "plant", plant=plants[key[0]])


def _dataset(plan: Plan, progress: Progress) -> data.Dataset:
    """The plan's data; InputError where there is none or it is too small."""
    directory = Path(plan.data_dir) if plan.data_dir is not None else None
    dataset = data.load(plan.dataset, directory, warn=progress.note)
    least = 2 * plan.workload.batch_size
    if len(dataset.train_labels) < least:
        raise InputError(
            f"data set {dataset.source}: {len(dataset.train_labels)} training images, and two "
            f"batches need {least}"
        )
    return dataset


def _empty_record(plan: Plan, run: str) -> Record:
    return Record(
        run=run,
        started=now(),
        seconds=0.0,
        ended=FINISHED,
        harness_version=__version__,
        plan=plan,
        machine=describe_machine(),
        dataset=None,
        results={},
    )


@contextmanager
def live(plan: Plan, folder: Path, progress: Progress) -> Iterator[Session]:
    """A session that has begun, for any number of trials; its logs go to `folder`."""
    dataset = _dataset(plan, progress)
    with scratch_folder(scratch_bytes(plan)) as scratch:
        session = Session(plan, _empty_record(plan, folder.name), folder, scratch, progress)
        try:
            session.begin(dataset)
            session.find_envelope()
            yield session
        finally:
            with undisturbed():
                session.crew.end_all()


def run(plan: Plan, results_dir: Path, progress: Progress) -> tuple[Record, Path]:
    """Carry out a plan and store its record; the record and its folder.

    Whatever stops the run (a signal, the harness's own failure), no process is left and what was
    measured is stored; the record says what happened. Raises InputError, with nothing written,
    where the data, the results directory or a backend asked for by name cannot be used.
    """
    check_folder(results_dir)
    dataset = _dataset(plan, progress)
    with scratch_folder(scratch_bytes(plan)) as scratch:
        folder = new_run_folder(results_dir)
        record = _empty_record(plan, folder.name)
        before = time.monotonic()
        session = Session(plan, record, folder, scratch, progress)
        full: InputError | None = None
        try:
            session.run(dataset)
        except KeyboardInterrupt:
            record.ended = INTERRUPTED
        except InputError:
            session.crew.end_all()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except HarnessError as error:
            record.ended = str(error)
        except WorkerFailed as error:
            record.ended = f"the reference {plan.reference} failed: {error}"
        except OSError as error:
            record.ended = f"{type(error).__name__}: {error}"
            if error.errno in NO_SPACE:
                full = InputError(f"{error.filename or scratch}: {why(error)}; free some space")
        except Exception as error:
            record.ended = f"{type(error).__name__}: {error} (a mistake in the harness itself)"
            with suppress(OSError):
                (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
        with undisturbed():
            session.crew.end_all()
            record.seconds = time.monotonic() - before
            write(record, folder)
    if full is not None:
        raise full
    return record, folder
