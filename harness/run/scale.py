"""How time per step grows with the work: a grid of widths and batch sizes, in live workers.

For every cell each worker is given the workload of that size, is judged on it against the float64
reference under the same limits as everywhere, and is timed in interleaved rounds. What is measured
is stored as `scale.json`; `harness/run/scale_figures.py` makes figures of it. Imports no framework.
"""

from __future__ import annotations

import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness import __version__, data
from harness.errors import HarnessError, InputError
from harness.files import why, write_atomic
from harness.interface import Array, Params, Product, Workload
from harness.measure import ladder
from harness.measure.ladder import Wanted
from harness.measure.measurement import measure
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.plan.model import CONTROL, Plan
from harness.progress import Progress
from harness.record.facts import describe_dataset, describe_machine, now
from harness.record.schema import (
    FINISHED,
    Count,
    DatasetFacts,
    Measurement,
    Number,
    Process,
    Record,
    Round,
    Stored,
)
from harness.record.store import check_folder, new_run_folder
from harness.run import known_answers
from harness.run.ending import stored
from harness.run.inputs import Inputs
from harness.signals import undisturbed
from harness.tensors import load_tensors, save_tensors
from harness.verdict.numbers import share
from harness.workers.pool import Key, Pool, Usage, checked
from harness.workers.scratch import DATA_BYTES, scratch_folder
from harness.workloads import REFERENCES
from harness.workloads.mlp_scratch import resized
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import Slot
from harness.workloads.reference.envelope import clear_batches
from harness.workloads.reference.limits import limit_for
from harness.workloads.reference.pieces import Reference, sgd
from harness.workloads.reference.screening import screen

SCHEMA = 1
FILE = "scale.json"
WIDTHS = (64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (32, 64, 128, 256, 512, 1024)
# Four times the largest size of the default grid: one gradient of the judge, who computes in
# float64, then takes 100 MB, and a step a second.
MOST = 16384
# A median of eight rounds; the default grid then takes some five minutes.
ROUNDS = 8
# The least |z| of a pre-activation in the judged training, as in `plan.Trajectory`.
CLEARANCE = 2e-5
# The rungs of one batch; each must have been measured before a time is shown.
RUNGS = ("inputs", "forward", "loss", "gradients", "update")


class Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much a worker does in its part of a round, for cells of at most `up_to_flop` a step.

    `products`: sets of the floor's products. None: however large.
    """

    up_to_flop: float | None
    warmup_steps: int
    steps: int
    products: int


# A block should last under 0.2 s, so that drift of a shared machine hits all workers alike; at some
# 200 GFLOP/s a step of 1 GFLOP takes 5 ms. Warming up takes time, not steps: both cores are a
# framework's again after some 30 ms (see `plan.Timing`), which is one step of the largest cell.
BLOCKS = (
    Block(1e9, 18, 12, 6),
    Block(2e9, 8, 8, 4),
    Block(4e9, 4, 6, 2),
    Block(8e9, 2, 3, 1),
    Block(None, 1, 2, 1),
)


class ScalePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The grid: every width at every batch size, for each number of threads.

    `plan` has labels, data, seed, and how many sessions and rounds there are (`plan.timing`; the
    rest of that, and the plan's own workload, are not used: `blocks` and the grid replace them).
    `clearance`: see CLEARANCE.
    """

    plan: Plan
    widths: tuple[int, ...]
    batches: tuple[int, ...]
    threads: tuple[int, ...]
    blocks: tuple[Block, ...] = BLOCKS
    clearance: float = CLEARANCE


class Judged(Stored, kw_only=True):
    """The measurement of one rung that is nearest its limit (or over it)."""

    rung: str
    tensor: str
    case: str
    distance: Number | None
    limit: float
    problem: str | None = None


class Cell(Stored, kw_only=True):
    """One label at one size in one session; `session`: the place in the record's list of them.

    `failed`: why its worker was of no more use. `first_step_ns`: as the worker tells it, by rows.
    `replaced`: samples of the judged batch that screening replaced. `repeats`: asked only where a
    replay ended at other parameters than the timed steps: whether two replays end at the same.
    """

    label: str
    width: int
    batch: int
    session: Count
    failed: str | None = None
    build_ns: int | None = None
    first_step_ns: dict[str, int] = msgspec.field(default_factory=dict)
    replaced: int = 0
    judged: list[Judged] = msgspec.field(default_factory=list)
    rounds: list[Round] = msgspec.field(default_factory=list)
    repeats: bool | None = None


class Session(Stored, kw_only=True):
    """Processes that were started together, with so many threads each."""

    threads: int
    processes: list[Process] = msgspec.field(default_factory=list)


class ScaleRecord(Stored, kw_only=True):
    """One run of the grid, whole; `ended`: as that of a `record.Record`."""

    schema: int = SCHEMA
    run: str
    started: str
    seconds: float
    ended: str
    harness_version: str
    plan: ScalePlan
    machine: dict[str, str]
    dataset: DatasetFacts | None
    sessions: list[Session] = msgspec.field(default_factory=list)
    cells: list[Cell] = msgspec.field(default_factory=list)


def parse_sizes(option: str, text: str) -> tuple[int, ...]:
    """Sizes from text like 64,256: ascending, each once, 1 to MOST; InputError otherwise."""
    sizes = []
    for part in text.split(","):
        digits = part.strip()
        if not (digits.isascii() and digits.isdecimal()):
            raise InputError(f"{option} {text!r}: expected numbers like 64,256")
        if len(digits) > len(str(MOST)) or not 1 <= int(digits) <= MOST:
            raise InputError(f"{option} {text!r}: each from 1 to {MOST}")
        sizes.append(int(digits))
    if len({*sizes}) < len(sizes):
        raise InputError(f"{option} {text!r}: every number once")
    return tuple(sorted(sizes))


def make_scale_plan(
    *,
    widths: str | None = None,
    batches: str | None = None,
    threads: str | None = None,
    rounds: int = ROUNDS,
    sessions: int = 1,
    backends: tuple[str, ...] = (),
    **words: Any,
) -> ScalePlan:
    """A plan from the user's words; `words` are those of `make_plan`. InputError where unusable.

    NumPy always enters: its products are the floor.
    """
    wanted = (CONTROL, *backends) if backends and CONTROL not in backends else backends
    words |= {"profile": "smoke", "backends": wanted, "rounds": rounds, "sessions": sessions}
    chosen = parse_sizes("--threads", threads) if threads is not None else (None,)
    plans = [make_plan(Choices(threads=count, **words)) for count in chosen]
    # Only the label's own process is timed, and once: lockstep and A against A are for `compare`.
    labels = {n: msgspec.structs.replace(k, twin=False) for n, k in plans[0].labels.items()}
    timing = msgspec.structs.replace(plans[0].timing, again=None)
    return ScalePlan(
        plan=msgspec.structs.replace(plans[0], labels=labels, timing=timing),
        widths=parse_sizes("--widths", widths) if widths is not None else WIDTHS,
        batches=parse_sizes("--batches", batches) if batches is not None else BATCHES,
        threads=tuple(plan.threads for plan in plans),
    )


def flop(workload: Workload) -> int:
    """Floating-point operations of a step's matrix products: 2 m k n each."""
    return sum(2 * m * k * n for m, k, n in map(_mkn, workload.products))


def _mkn(product: Product) -> tuple[int, int, int]:
    m, k = product.a[::-1] if product.transposed == "a" else product.a
    return m, k, product.b[0 if product.transposed == "b" else 1]


def block_for(plan: ScalePlan, work: float) -> Block:
    """The first row of the plan's blocks that is for cells of so much work."""
    return next(b for b in plan.blocks if b.up_to_flop is None or work <= b.up_to_flop)


def grid(plan: ScalePlan) -> list[tuple[int, int]]:
    """Every (width, batch), least work first: what a worker fails at leaves the smaller cells."""
    cells = [(width, batch) for width in plan.widths for batch in plan.batches]
    return sorted(cells, key=lambda cell: (cell[0] * cell[1], cell))


def run(plan: ScalePlan, results_dir: Path, progress: Progress) -> tuple[ScaleRecord, Path]:
    """Carry out a plan and store its record; the record and its folder.

    As `session.run`: whatever stops it, no process is left and what was measured is stored.
    """
    check_folder(results_dir)
    dataset = _dataset(plan, progress)
    with scratch_folder(_scratch_bytes(plan)) as scratch:
        folder = new_run_folder(results_dir)
        folder = folder.rename(folder.with_name(folder.name.removeprefix(".")))
        record = ScaleRecord(
            run=folder.name,
            started=now(),
            seconds=0.0,
            ended=FINISHED,
            harness_version=__version__,
            plan=plan,
            machine=describe_machine(),
            dataset=describe_dataset(dataset),
        )
        with stored(
            record,
            folder,
            scratch,
            end_all=lambda: None,  # each session ends its own
            write=lambda: write_atomic(folder / FILE, msgspec.json.encode(record)),
        ):
            _measure_all(record, dataset, scratch, folder, progress)
    return record, folder


def _dataset(plan: ScalePlan, progress: Progress) -> data.Dataset:
    """The plan's data; InputError where there is none or it is too small."""
    directory = Path(plan.plan.data_dir) if plan.plan.data_dir is not None else None
    dataset = data.load(plan.plan.dataset, directory, warn=progress.note)
    least = 2 * max(*plan.batches, plan.plan.workload.batch_size)
    if len(dataset.train_labels) < least:
        raise InputError(
            f"data set {dataset.source}: {len(dataset.train_labels)} training images, and two of "
            f"the largest batches need {least}; choose smaller --batches"
        )
    return dataset


def _scratch_bytes(plan: ScalePlan) -> int:
    """Room for the data, and for a few copies of the widest cell's parameters."""
    widest = resized(max(plan.widths), max(plan.batches))
    held = 4 * sum(int(np.prod(parameter.shape)) for parameter in widest.parameters)
    return DATA_BYTES + 8 * held


def _measure_all(
    record: ScaleRecord,
    dataset: data.Dataset,
    scratch: Path,
    folder: Path,
    progress: Progress,
) -> None:
    """Every cell in every session for every number of threads."""
    plan = record.plan
    inputs = Inputs(plan.plan, dataset, scratch)
    answers = known_answers.check_shared_code()
    answers += known_answers.check_pixels(dataset, inputs.x, inputs.test_x)
    if wrong := [answer.name for answer in answers if answer.got != answer.want]:
        raise HarnessError(
            f"known answers of the shared code: {'; '.join(wrong)}: nothing is timed"
        )
    cells = grid(plan)
    for threads in plan.threads:
        for number in range(plan.plan.timing.sessions):
            place = len(record.sessions)
            session = Session(threads=threads)
            record.sessions.append(session)
            configured = msgspec.structs.replace(plan.plan, threads=threads)
            pool = Pool(configured, record.run, folder / "logs", scratch, progress, place)
            try:
                _start(pool, record, session, inputs)
                of = f", session {number + 1} of {plan.plan.timing.sessions}"
                progress.phase(f"cells, threads: {threads}{of}", len(cells))
                for done, (width, batch) in enumerate(cells, 1):
                    if not pool.live():
                        break
                    _Sized(record, place, pool, inputs, width, batch).measure()
                    progress.advance(done)
                for key in pool.live():
                    pool.say_goodbye(key)
            finally:
                with undisturbed():
                    pool.end_all()


def _start(pool: Pool, record: ScaleRecord, session: Session, inputs: Inputs) -> None:
    """Start a session's processes, all importing at once."""
    held = Record(  # a pool enters its processes in one of these
        run=record.run,
        started=record.started,
        seconds=0.0,
        ended="",
        harness_version=__version__,
        plan=pool.plan,
        machine={},
        dataset=None,
        results={},
    )
    pool.start(held)
    session.processes = [p for results in held.results.values() for p in results.processes]
    pool.await_started(inputs.data())


@dataclass
class _Sized:
    """One cell in one session: every live worker is judged, then timed, at this size."""

    record: ScaleRecord
    place: int
    pool: Pool
    inputs: Inputs
    width: int
    batch: int

    def measure(self) -> None:
        """The cell's entries are in the record from the start: an interrupted one keeps them."""
        self.workload = resized(self.width, self.batch)
        self.block = block_for(self.record.plan, flop(self.workload))
        self.steps = min(self.block.steps, len(self.inputs.x) // self.batch)
        self.reference: Reference = REFERENCES[self.workload.name]
        self.entries: dict[Key, Cell] = {}
        for key, process in self.pool.processes.items():
            if process.status == "skipped":
                continue
            entry = Cell(label=key.label, width=self.width, batch=self.batch, session=self.place)
            self.entries[key] = entry
            self.record.cells.append(entry)
        try:
            self._judge()
            self._time()
        finally:
            for key, entry in self.entries.items():
                process = self.pool.processes[key]
                if process.status == "failed":
                    entry.failed = process.reason

    def _judge(self) -> None:
        """Each worker on the first full batch from the initial parameters, then in a training.

        That is as long as a block's timed part and made the way that the block makes it (a scan,
        say), on batches without samples near a kink, as the trajectory's start: a unit that flips
        would move a loss by 3e-5. Every loss of it is judged.
        """
        inputs, seed = self.inputs, self.record.plan.plan.seeds[0]
        initial = canonical.initial_params(self.workload, seed)
        save_tensors(inputs.file("cell-initial"), initial)
        try:
            rows, replaced = screen(
                inputs.order[0],
                0,
                self.batch,
                lambda rows: inputs.clear(initial, inputs.x[rows], self.reference),
            )
            batches, _ = clear_batches(
                self.reference,
                self.workload,
                initial,
                inputs.x,
                inputs.y,
                inputs.order[0],
                self.steps,
                self.record.plan.clearance,
            )
        except ValueError as error:
            raise HarnessError(f"width {self.width}, batch {self.batch}: {error}") from None
        save_tensors(inputs.file("cell-batch"), {"rows": rows})
        # Workers remember a schedule by its file's name.
        schedule = f"cell-{self.width}-{self.batch}"
        slots = [Slot(0, at * self.batch, (at + 1) * self.batch) for at in range(self.steps)]
        inputs.save_schedule(schedule, seed, np.concatenate(batches)[None], slots)
        wanted = self._wanted(initial, inputs.x[rows], inputs.y[rows])
        losses = self._losses(initial, batches)
        for key in self.pool.live():
            with self.pool.containing(key):
                entry = self.entries[key]
                entry.replaced = replaced
                workload = msgspec.to_builtins(self.workload)
                told = self.pool.call(key, "workload", workload=workload)
                entry.build_ns = msgspec.convert(told["build_ns"], int)
                found = [
                    *self._case(key, wanted, inputs.y[rows]),
                    self._trained(key, losses, inputs.file(f"{schedule}-{seed}")),
                ]
                entry.judged = _nearest(found, self.pool.precision(key))

    def _wanted(self, initial: Params, x: Array, y: Array) -> Wanted:
        """The float64 reference's word on the first batch; x: float32 (n, inputs), y: (n,)."""
        wide = {name: value.astype(np.float64) for name, value in initial.items()}
        x64 = x.astype(np.float64)
        loss, grads = self.reference.loss_and_grads(wide, x64, y)
        return Wanted(initial, x, self.reference.logits(wide, x64), loss, grads, centred=False)

    def _losses(self, initial: Params, batches: list[Array]) -> Array:
        """The reference's losses (steps,) in a training through these rows, in nats."""
        params = {name: value.astype(np.float64) for name, value in initial.items()}
        losses = []
        for rows in batches:
            x = self.inputs.x[rows].astype(np.float64)
            loss, grads = self.reference.loss_and_grads(params, x, self.inputs.y[rows])
            sgd(params, grads, self.workload.lr)
            losses.append(loss)
        return np.array(losses)

    def _case(self, key: Key, wanted: Wanted, y: Array) -> list[Measurement]:
        """What a worker makes of the first batch, against the judge."""
        params, batch = self.inputs.file("cell-initial"), self.inputs.file("cell-batch")
        got = self.pool.answer(key, "case", params=params, batch=batch)
        case = f"{self.width} x {self.batch}"
        return ladder.teacher_forced(
            got, wanted, y=y, lr=self.workload.lr, process=key.dtype, case=case, step=0
        )

    def _trained(self, key: Key, want: Array, schedule: str) -> Measurement:
        """The losses of a worker's training against the judge's."""
        out = self.inputs.scratch / "cell-train"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        self.pool.call(
            key,
            "train",
            params=self.inputs.file("cell-initial"),
            schedule=schedule,
            snapshots=[],
            evaluations=[],
            at_once=self.steps,
            out=str(out),
        )
        return measure(
            "loss",
            "losses",
            load_tensors(f"{out}/series")["losses"],
            want,
            process=key.dtype,
            case=f"steps 0 to {self.steps - 1}",
            step=self.steps - 1,
            dtype="float64",
        )

    def _time(self) -> None:
        """Interleaved rounds, each worker one block, in random order."""
        timing, pool = self.record.plan.plan.timing, self.pool
        seed = self.record.plan.plan.seeds[0]
        full = len(self.inputs.x) // self.batch
        shuffle = random.Random(f"{self.record.run} {self.place} {self.width} {self.batch}")
        for round_ in range(timing.warmup_rounds + timing.rounds):
            keys = pool.live()
            shuffle.shuffle(keys)
            replay = round_ == timing.warmup_rounds
            fields = {
                "params": self.inputs.file("cell-initial"),
                "schedule": self.inputs.file(f"schedule-{seed}"),
                "first": round_ * self.steps % (full - self.steps + 1),
                "warmup_steps": self.block.warmup_steps,
                "steps": self.steps,
                "products": self.block.products,
                "replay": replay,
            }
            for place, key in enumerate(keys):
                with pool.containing(key):
                    entry = self.entries[key]
                    told = pool.call(key, "block", **fields)
                    timed = checked(Round(session=self.place, round=round_, place=place, **told))
                    entry.rounds.append(timed)
                    if timed.digest != timed.replayed:
                        again = pool.call(key, "block", **fields)
                        entry.repeats = again["replayed"] == timed.replayed
        for key in pool.live():
            with pool.containing(key):
                usage = msgspec.convert(pool.call(key, "usage"), Usage)
                self.entries[key].first_step_ns = usage.first_step_ns


def _nearest(found: list[Measurement], precision: str) -> list[Judged]:
    """Of each rung the measurement that takes the largest share of its limit."""
    worst: dict[str, tuple[float, Judged]] = {}
    for m in found:
        limit = limit_for(m.rung, m.dtype, m.case, precision)
        assert limit is not None  # the table has a row for every rung of a batch
        taken = share(m, limit)
        if m.rung not in worst or taken > worst[m.rung][0]:
            worst[m.rung] = (
                taken,
                Judged(
                    rung=m.rung,
                    tensor=m.tensor,
                    case=m.case,
                    distance=m.distance,
                    limit=limit.value,
                    problem=m.problem,
                ),
            )
    return [judged for _, judged in worst.values()]


class _Head(msgspec.Struct):
    schema: int


def read(path: Path) -> ScaleRecord:
    """The record in a run's folder (or the file itself); InputError unless it is a whole one."""
    file = path / FILE if path.is_dir() else path
    try:
        return decode(file.read_bytes(), str(file))
    except OSError as error:
        raise InputError(f"record {file}: {why(error)}") from None


def decode(stored: bytes, name: str) -> ScaleRecord:
    """A record from bytes; `name` is what the error calls it."""
    try:
        schema = msgspec.json.decode(stored, type=_Head).schema
        if schema != SCHEMA:
            raise InputError(f"record {name}: schema {schema}, and this harness reads {SCHEMA}")
        record = msgspec.json.decode(stored, type=ScaleRecord)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"record {name}: not a whole record of scale ({error})") from None
    plan, sessions = record.plan, len(record.sessions)
    if min((*plan.widths, *plan.batches, *plan.threads), default=1) < 1:
        raise InputError(f"record {name}: its plan has a size below 1")
    if strangers := [s.threads for s in record.sessions if s.threads not in plan.threads]:
        raise InputError(f"record {name}: {strangers[0]} threads, which its plan does not have")
    for cell in record.cells:
        if (
            cell.label not in plan.plan.labels
            or cell.width not in plan.widths
            or cell.batch not in plan.batches
            or cell.session >= sessions
        ):
            raise InputError(
                f"record {name}: a cell of {cell.label!r}, width {cell.width}, batch {cell.batch}, "
                f"session {cell.session}, which its plan does not have"
            )
    return record
