"""A run in progress: what every phase shares."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.explain.search import Found
from harness.interface import Array
from harness.interface import State as StateOf
from harness.measure.ladder import Wanted
from harness.measure.straying import Noise
from harness.plan.model import Plan, judged_by_file, judged_by_label
from harness.progress import Progress
from harness.record.schema import Case, Record, Results
from harness.run import golden_file
from harness.run.checkpoint import Checkpoint
from harness.run.golden_file import Golden
from harness.run.inputs import Inputs
from harness.run.judge import Judge
from harness.run.memo import Memo, digest_of
from harness.tensors import load_tensors
from harness.workers.pool import Key, Pool
from harness.workers.providers import ProvidedReference
from harness.workloads.corners import POOL_BATCHES, Probe, probes
from harness.workloads.reference.composed import Composed, Reference, cast


@dataclass(eq=False)
class Batch:
    """One teacher-forced batch: a state (any dtype), and "x" float32, "y", noise.

    `given`: what workers read, rows of the data or x and y, and noise; `wanted`: the judge's word,
    by dtype, filled as it is asked for; `centred`: as `ladder.Wanted`'s; `noise`: see
    `straying.find_noise`, `jumps`: see its `find_jumps`, None until they are asked for.
    """

    case: Case
    state: StateOf
    batch: StateOf
    given: StateOf
    centred: bool = False
    wanted: dict[str, Wanted] = field(default_factory=dict)
    noise: Noise | None = None
    jumps: dict[str, float] | None = None


@dataclass
class State:
    """Plan, data, live workers, judge, and the record being filled.

    `inputs` is there once the data are, `judge` once it has begun to train; `start_steps`: steps of
    the trajectory's start, `start_clear`: whether none of them has a unit near a kink. `predicted`:
    the classes, int64 (test images,), that each label gives after its training with the first seed.
    `batches`: the teacher-forced ones, where they are used more than once. `trials`: how many
    records were made in these workers so far. `judge_steps`: counts the judge's steps of one phase.
    `replayed`: how far rounding alone leads in lockstep, by steps and tensor, None until it is
    asked for. `explained`: what explains each label's first divergence so far, with its numbers'
    spread. `crew`: whether the workers live on, for a run after this one. What judges:
    `provided`, the process of a plug-in workload, or `golden`, a file. `memo`: see `remembered`.
    `checkpoint`: what survives of it, None where nothing is to.
    """

    plan: Plan
    record: Record
    folder: Path
    scratch: Path
    progress: Progress
    pool: Pool = field(init=False)
    reference: Reference = field(init=False)
    inputs: Inputs = field(init=False)
    judge: Judge = field(init=False)
    start_steps: int = 0
    start_clear: bool = True
    predicted: dict[str, Array] = field(default_factory=dict)
    batches: list[Batch] | None = None
    trials: int = 0
    judge_steps: Iterator[int] = field(default_factory=itertools.count)
    replayed: dict[int, dict[str, float]] | None = None
    explained: dict[str, list[Found]] = field(default_factory=dict)
    crew: bool = False
    provided: ProvidedReference | None = None
    golden: Golden | None = None
    memo: Memo = field(default_factory=Memo)
    checkpoint: Checkpoint | None = None

    def __post_init__(self) -> None:
        self.pool = self.new_pool(0)

    def start_reference(self) -> None:
        """Have the reference at hand; one that a plug-in brings has a process of its own.

        A golden file is read, and the inputs lead through its steps; InputError for another's.
        """
        plan, provided = self.plan, self.plan.provided
        if plan.net is not None:
            self.reference = Composed(plan.net)
            if judged_by_file(plan):
                self.golden = golden_file.read(Path(plan.reference))
                assert self.record.dataset is not None
                data = golden_file.data_of(self.record.dataset)
                golden_file.follow(self.inputs, data, self.golden.header)
        elif provided is not None and provided.reference:
            self.reference = self.provided = ProvidedReference(
                provided.source,
                self.record.run,
                self.folder / "logs",
                self.scratch,
                plan.workload,
            )

    def probes(self) -> list[Probe]:
        """The workload's made batches; none of one that is resized, whose limits are for steps."""
        plan, inputs = self.plan, self.inputs
        rows = inputs.order[0][: POOL_BATCHES * plan.batch_size]
        initial, pool = inputs.initial(self.seed), inputs.batch(rows, self.seed, 0)
        if isinstance(self.reference, Composed):
            if plan.profile == "scale":
                return []

            def clear(state: StateOf, batch: StateOf) -> Array:
                return inputs.clear(state, batch, self.reference)

            return probes(self.reference, plan.workload, initial, pool, clear)
        if self.provided is None or plan.provided is None or not plan.provided.probes:
            return []
        return self.provided.probes(initial, pool, plan.screen_margin)

    def new_pool(self, session: int) -> Pool:
        """Workers that are not started yet."""
        logs = self.folder / "logs"
        return Pool(self.plan, self.record.run, logs, self.scratch, self.progress, session)

    def end_all(self) -> None:
        """End whatever still lives, of whichever session."""
        self.pool.end_all()
        self.end_own()

    def end_own(self) -> None:
        """End what lives for this run alone: the process of a workload's own reference."""
        for left in self.provided.end() if self.provided is not None else []:
            self.progress.note(f"the workload left a process running, ended: {left.command}")

    @property
    def seed(self) -> int:
        """The seed of every rung but accuracy: the plan's first."""
        return self.plan.seeds[0]

    def results(self, key: Key) -> Results:
        """Where a process's measurements go."""
        return (self.record.again if key.replicate else self.record.results)[key.label]

    def judge_folder(self, kind: str, seed: int) -> Path:
        """What the judge left of a training (see `harness/run/judge.py`)."""
        return self.scratch / f"judge-{kind}-{seed}"

    @property
    def remembered(self) -> Memo:
        """Where results of the judge are kept: the harness's own, which plain data decide.

        Nothing is of a label, a golden file, or a plug-in's own object.
        """
        own = isinstance(self.reference, Composed) and not judged_by_label(self.plan)
        return self.memo if own and self.golden is None else Memo()

    def decided_by(self, kind: str, seed: int) -> tuple[object, ...]:
        """All that the numbers of a training follow from, beside the harness itself."""
        schedule = digest_of([Path(self.inputs.training(kind, seed)[1])])
        return self.plan.net, self.plan.workload, self.inputs.data_sha256, seed, schedule

    @property
    def lockstep_kind(self) -> str:
        """The judge's training that lockstep is held to: its own, or what a golden file holds."""
        return "schedule" if self.golden is None else "lockstep"

    def judged(self, kind: str, done: int) -> StateOf:
        """The judge's state after so many steps, float64."""
        if done == 0:
            initial = self.inputs.initial(self.seed)
            return cast(initial)
        return load_tensors(f"{self.judge_folder(kind, self.seed)}/state-{done - 1}")

    def learnt(self, held: StateOf) -> StateOf:
        """Of a state what a training is for (`Workload.learnt`)."""
        names = {tensor.name for tensor in self.plan.workload.learnt}
        return {name: value for name, value in held.items() if name in names}

    def start_after(self) -> list[int]:
        """Numbers of steps after which the start is compared: the plan's, or its end."""
        chosen = self.plan.trajectory
        after = chosen.start_after if chosen is not None else ()
        return sorted({n for n in after if n <= self.start_steps} or {self.start_steps})

    def training_folder(self, key: Key, kind: str, seed: int) -> tuple[Path, str]:
        """Where a worker's training writes; and the file that it goes on from, "" for its start."""
        if self.checkpoint is None or kind != "schedule":
            return self.fresh_folder(), ""
        # Labels are no file names.
        place = f"{list(self.plan.labels).index(key.label)}-{key.dtype}"
        return self.checkpoint.training(key.label, seed, place, self.progress.note)

    def fresh_folder(self) -> Path:
        """A name for a worker's training to be written to; what another left there is gone."""
        folder = self.scratch / "train"
        shutil.rmtree(folder, ignore_errors=True)
        return folder
