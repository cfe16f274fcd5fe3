"""What to run: one frozen Plan, made from a profile and the user's choices, stored with the record.

Everything that decides what is measured is data here, with its reason. Imports no framework.
"""

from __future__ import annotations

import os
from typing import Annotated

import msgspec

from backends import BUILT_IN
from harness.interface import Workload
from harness.workloads.reference.composed import Net

DTYPES = ("float32", "float64")
DEVICES = ("cpu", "cuda")
REFERENCE = "harness/float64"
# The control arm of timing: its products are the GEMM floor on a CPU, and it enters twice.
CONTROL = "numpy"
# What configures a label: whoever is the same in these, in two runs, is the same.
CONFIGURATION = ("backend", "variant", "device", "dtype", "precision")


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configuration under test. `twin` asks for a float64 process beside a float32 one.

    `python`: the interpreter of its processes. `source`: MODULE:CLASS or FILE:CLASS; `origin`: how
    that was found; `environment`: variables set before anything is imported. `default`: its
    backend executes so where nobody chooses a variant.
    """

    backend: str
    variant: str
    device: str
    dtype: str
    precision: str
    python: str
    twin: bool
    asked_for: bool
    plant: str | None = None
    source: str = ""
    origin: str = BUILT_IN
    environment: dict[str, str] = {}
    default: bool = True


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How steps are timed: `rounds` blocks of `steps` full batches for each worker, interleaved.

    Blocks of 30 steps keep a worker's part of a round under a tenth of a second, so that drift of
    a shared machine hits all alike. `warmup_rounds` and the `warmup_steps` at the start of every
    block are kept in the record and left out of figures: after the single-threaded gathering, JAX
    and TensorFlow need 15 to 30 steps until both cores are theirs again (2.4 in place of 1.5 ms a
    step until then, seen with no other load). `products`: sets of the floor's products a block.
    `burst_every`: in every so manieth round also K and 2K steps with one wait, K = `burst_steps`.
    `sessions` after the first are timed in fresh processes. `again`: the label that enters with two
    processes (A against A). `band`: the largest ratio to the fastest that still counts as "timings
    agree"; `spread`: between the slowest and the fastest session of a label, above which its times
    say nothing sure. A difference is *claimed* if its interval excludes 1 and it exceeds `least`; a
    change against a baseline counts from `factor` on.
    """

    sessions: int
    rounds: int
    warmup_rounds: int = 1
    warmup_steps: int = 18
    steps: int = 12
    products: int = 6
    band: Annotated[float, msgspec.Meta(gt=0)] = 4.0
    burst_every: int = 3
    burst_steps: int = 6
    again: str | None = None
    spread: float = 1.15
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.03
    factor: float = 1.10


class Trajectory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How free-running float32 is judged: against `replicas` of the float32 reference.

    A replica trains under changes exact in real arithmetic (see
    `harness/workloads/reference/envelope.py`). *start*: the first `start_steps` steps of epoch 0 on
    batches without samples whose reference has a pre-activation |z| < `clearance` (5 of 256 on
    average); compared after `start_after` steps. Without flipped units replicas stay within 1 % of
    one another, so the limit may be close: `start_factor` times the largest. *late*: whole epochs
    on plain batches, compared at epoch ends from epoch `late_from` on (None: not run), when every
    run has flipped a few units: `late_factor` times the largest of 8. In between no band is both
    safe and useful (up to 14 % false alarms a run), so nothing is judged there.
    """

    start_steps: int
    start_after: tuple[int, ...]
    late_from: int | None = None
    replicas: int = 8
    clearance: float = 2e-5
    start_factor: float = 1.5
    late_factor: float = 3.0

    def within(self, steps: int | None) -> Trajectory:
        """The same of a training that has no more than so many steps (None: any number)."""
        if steps is None or steps >= self.start_steps:
            return self
        after = tuple(n for n in self.start_after if n < steps)
        return msgspec.structs.replace(self, start_steps=steps, start_after=(*after, steps))


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known difference: this rung (or operator) of this label is to disagree; else it fails.

    `label`, `tensor`: patterns; of an operator the tensor is not looked at.
    """

    label: str
    rung: str
    reason: str
    tensor: str = "*"


class Provided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a plug-in workload comes from, and whether it brings a reference and made batches."""

    source: str
    origin: str
    reference: bool
    probes: bool


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds a worker may take for one command. Generous: they catch hangs, not slowness.

    `per_step_s` is added for each training step asked for.
    """

    start_s: float = 300.0
    command_s: float = 120.0
    per_step_s: float = 0.25


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides what a run measures.

    `steps` None: whole epochs; else the first steps of epoch 0 and its short batch.
    `checkpoints`: teacher-forced steps, as indices into the schedule; negative from its end.
    `lockstep_epochs`: float64 free-running for so many epochs (ignored with `steps`).
    `screen_margin`: a sample with a pre-activation |z| < margin * 2**-24 * S is replaced (see
    SCREEN_MARGINS); 0 switches screening off.
    `small_sizes`: batches of these sizes are teacher-forced too, at the checkpoints `small_steps`
    (indices as above), of samples whose reference loss is at least SMALL_LEAST_LOSS nats.
    `operators`: judge single operators too; `brought`: those of
    packages, the place of each by name. `expect`: differences known beforehand.
    `memory_headroom`: bytes a worker may allocate beyond what it holds after import, or None.
    `net`: the workload's layers, from which its judge is made; None where a plug-in or a label
    judges it. `rooms`: a folder with the user's own files of models, by framework.
    `provided`: of a workload that is a plug-in. `reference`: what judges; a float64 process of a
    label, a golden file's absolute path, or NAME/float64, which comes with harness or plug-in.
    """

    profile: str
    workload: Workload
    net: Net | None
    labels: dict[str, Label]
    reference: str
    dataset: str
    data_dir: str | None
    seeds: tuple[int, ...]
    threads: int
    steps: int | None
    checkpoints: tuple[int, ...] | None
    lockstep_epochs: int
    screen_margin: float
    timing: Timing
    trajectory: Trajectory | None = None
    small_sizes: tuple[int, ...] = ()
    small_steps: tuple[int, ...] = ()
    operators: bool = False
    brought: dict[str, str] = {}
    expect: tuple[Expected, ...] = ()
    timeouts: Timeouts = Timeouts()
    memory_headroom: int | None = None
    skipped: dict[str, str] = {}
    provided: Provided | None = None
    rooms: str = ""

    @property
    def batch_size(self) -> int:
        """Samples of a full batch: the workload's, known at the latest when the data are."""
        assert self.workload.batch_size is not None
        return self.workload.batch_size


def judged_tensors(workload: Workload) -> dict[str, list[str]]:
    """What is judged of a workload whoever trains it, by rung; of others it depends on the run."""
    every = [tensor.name for tensor in workload.tensors]
    given = ["x", *(["y"] if workload.y != "none" else []), *(t.name for t in workload.noise)]
    return {
        "inputs": [*given, *every],
        "loss": ["loss", "step loss"],
        "gradients": [t.name for t in workload.trained],
        "update": every,
        "lockstep": [*(t.name for t in workload.learnt), "losses"],
    }


def at_most(steps: int | None, most: int | None) -> int | None:
    """The fewer of two numbers of steps; None is any number."""
    return min((n for n in (steps, most) if n is not None), default=None)


def checkpoint_steps(plan: Plan, steps: int) -> list[int]:
    """The teacher-forced steps of a schedule of `steps` steps, ascending, none beyond it."""
    if plan.checkpoints is None:
        chosen = {*range(10), *range(0, steps, 10), steps - 2, steps - 1}
    else:
        chosen = set(_places(plan.checkpoints, steps))
    return sorted(c for c in chosen if 0 <= c < steps)


def small_steps(plan: Plan, steps: int) -> list[int]:
    """The checkpoints with small batches too, ascending."""
    chosen = {*_places(plan.small_steps, steps)} & {*checkpoint_steps(plan, steps)}
    return sorted(chosen)


def _places(indices: tuple[int, ...], steps: int) -> list[int]:
    return [c if c >= 0 else steps + c for c in indices]


def process_precision(label: Label, dtype: str) -> str:
    """The precision of one of a label's processes: the float64 twin of a reduced one is strict."""
    return label.precision if dtype == label.dtype else "strict"


def judged_by_label(plan: Plan) -> bool:
    """Whether a label of the plan is the reference (no label has a "/")."""
    return "/" not in plan.reference


def judged_by_file(plan: Plan) -> bool:
    """Whether a golden file is the reference: its absolute path."""
    return os.path.isabs(plan.reference)
