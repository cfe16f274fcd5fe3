"""The stored record of one run: measurements, not tensors. Schema, atomic write, strict read.

A record is `record.json` in a folder of its own under `results/runs/`, and beside it its samples,
steps.parquet (see `harness/record/samples.py`), whose SHA-256 it names. Reading is strict: an
unknown field, a wrong type, a newer schema, a cut-off or a foreign file is an InputError. A number
that is not finite is stored as the string "nan", "inf" or "-inf", never dropped. Imports no
framework.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from harness.plan.model import Plan
from harness.record import numbers
from harness.record.operators import Operator, Truth

# 2: a workload is of any model; what the first harness stored has one net's fields.
SCHEMA = 2
# Where the samples lie, beside record.json.
STEPS: Literal["steps.parquet"] = "steps.parquet"
# How a run may end; anything else is one line on what stopped it.
FINISHED = "finished"
INTERRUPTED = "interrupted"


Number = numbers.Number
number = numbers.number
Count = Annotated[int, msgspec.Meta(ge=0)]
# A century and more; beyond it lies no time, but an overflow.
Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]
Few = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class Stored(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all that is stored: unknown fields are errors."""


class Worst(Stored, kw_only=True):
    """The element furthest off. `in_rms`: its error in units of the wanted tensor's RMS."""

    index: list[int]
    got: Number
    want: Number
    in_rms: Number


class Pattern(Stored, kw_only=True, forbid_unknown_fields=False):
    """What the error of a tensor looks like; sought only where it is coarser than rounding.

    `factor`: the number that takes `want` nearest `got` (for updates: the change), `residual`: the
    distance that is left under it. `elements`, `rows`, `columns`: the share of each (of the last
    axis and of the first) with an error above a tenth of the worst. (One stored earlier may say
    more: the rounding that was thought to be at work.)
    """

    factor: Number
    residual: Number
    elements: float
    rows: float
    columns: float


class Measurement(Stored, kw_only=True):
    """One tensor of one backend against the judge.

    `dtype` is that of the process ("float32", "float64"); `case` names the batch ("step 760",
    "corner", ...); `step` its place in the schedule, None for made batches. `distance` is
    scale-free (see `harness/measure/distance.py` for each rung's); it is None where `problem` says
    why none can be taken (shape, dtype, positions of NaN or infinity). `beside` holds figures that
    are shown and never judged. `noise`: how far replicas of the reference stray in this dtype on
    this very batch, sought where a distance exceeds the limit of other batches: the limit does not
    lie below some times that. `measured`: in float32 the limit is made of it alone.
    `jump`: by how much float32 may move it besides, since units lie within rounding of a kink.
    """

    dtype: str
    rung: str
    case: str
    step: int | None
    tensor: str
    shape: list[int]
    digest: str
    distance: Number | None
    problem: str | None = None
    worst: Worst | None = None
    want_norm: Number
    got_norm: Number
    beside: dict[str, Number] = {}
    noise: float | None = None
    measured: bool = False
    jump: float | None = None
    pattern: Pattern | None = None


# What follows a tensor's name in the rung forward: a value's own error, of what its layer was
# given; outputs as a step computes them, where evaluation computes others.
OWN, TRAINING = ", own error", ", training"
# How the cases of evaluations begin.
EVALUATION = "evaluation"


def evaluation_case(seed: int, epoch: int) -> str:
    """What the measurement of a training's outputs on the test set is called, after an epoch."""
    return f"{EVALUATION}, seed {seed}, epoch {epoch}"


class Case(Stored, kw_only=True):
    """One teacher-forced batch: how many samples it has and how many screening replaced."""

    case: str
    step: int | None
    rows: int
    replaced: int


class Training(Stored, kw_only=True):
    """One free-running training. `losses`: mean loss of every step; `step_ns`: step + wait.

    `whole`: the plan's full schedule, not only the part that lockstep needs. `epoch_ns`: wall time
    of each epoch's loop, gather, put and step; `test_accuracy`, `test_loss`,
    `validation_accuracy`: after each, those that there are; `training_accuracy`: over each epoch's
    batches, before their updates. `gradient_norms`: by tensor, of the first training rows, before
    training and after each epoch; `path`: what a tiny model has learnt, by tensor and flat, after
    each of `path_steps` steps. `gather_ns`: picking a
    step's rows; `put_ns`: host to device. Steps that one call of `run` made share its time evenly,
    and so do steps that were queued the wait for them; meanwhile the next batch is put.
    `confusion`: test images after the last epoch, a row a true class, a column a predicted one
    (logits with NaN are counted nowhere); empty where the test set was not looked at.
    `went_on`: numbers of steps after which it was cut off and another process went on: its numbers
    are those of one that was not, its times are no claim.
    """

    dtype: str
    seed: int
    whole: bool
    rows: list[int]
    losses: list[Number]
    epoch_losses: list[Number]
    test_accuracy: list[Number]
    step_ns: list[Nanoseconds]
    gather_ns: list[Nanoseconds] = []
    put_ns: list[Nanoseconds] = []
    epoch_ns: list[Nanoseconds]
    eval_ns: list[Nanoseconds]
    final_norms: dict[str, Number]
    test_loss: list[Number] = []
    validation_accuracy: list[Number] = []
    training_accuracy: list[Number] = []
    gradient_norms: dict[str, list[Number]] = {}
    path_steps: list[Few] = []
    path: dict[str, list[list[Number]]] = {}
    confusion: list[list[Few]] = []
    went_on: list[Few] = []


class Repeat(Stored, kw_only=True):
    """A against A: the same process trained twice from the same numbers for some steps.

    `distances`: of the parameters after the second from those after the first; `first_step`: the
    first whose losses differ, None where they are all the same. All zero: it reproduces itself.
    """

    dtype: str
    steps: int
    first_step: int | None
    distances: dict[str, Number]

    @property
    def identical(self) -> bool:
        """Whether the two runs are the same, bit for bit."""
        return self.first_step is None and all(d == 0 for d in self.distances.values())


class Churn(Stored, kw_only=True):
    """Test predictions after the last step against the reference's, one seed.

    `differ`: samples with another class; `only_here`, `only_reference`: right on one side only.
    """

    seed: int
    samples: Few
    differ: Few
    only_here: Few
    only_reference: Few


class Differing(Stored, kw_only=True):
    """A test image whose class the labels do not agree on after training, the first seed's.

    `true`, `reference` and `predicted` (by label) are classes, -1 for logits with NaN. `pixels`:
    the image, 8 bits a channel, row by row, in base64; `shape`: rows, columns and perhaps channels.
    """

    index: Count
    true: int
    reference: int
    predicted: dict[str, int]
    shape: list[Few]
    pixels: str


class Replica(Stored, kw_only=True):
    """One replica of the float32 reference: its distance from the float64 one after some steps.

    `distance`: over all parameters together; `tensors`: of each.
    """

    regime: Literal["start", "late"]
    replica: int
    after: int
    distance: Number
    tensors: dict[str, Number]


# A divergence of lockstep beyond so many steps is not kept: 10 MB of images.
LONGEST_KEPT = 50


class Kept(Stored, kw_only=True):
    """Tensors in `file` beside the record, so that a divergence can be reproduced."""

    label: str
    dtype: str
    rung: str
    case: str
    file: str


class Explanation(Stored, kw_only=True):
    """Conventions that give what a process gave, to the limit of correct code.

    `hypothesis`: its name, two with + between where two tensors need different ones; `sentence`:
    with its numbers and the tensors; `left`: the largest distance that remains.
    """

    hypothesis: str
    sentence: str
    numbers: list[Number]
    left: Number


class Explained(Stored, kw_only=True):
    """What explains a label's first divergence, sought in a process of `dtype`; empty: nothing.

    Each of several explains all of it.
    """

    label: str
    dtype: str
    rung: str
    case: str
    found: list[Explanation]


class Round(Stored, kw_only=True):
    """One worker's block in one round: nanoseconds of each step, gather, put and set of products.

    Rounds count from 0 in every session. `warmup_ns`: the block's first steps, kept and left out of
    every figure. `at_once`: how many steps one call makes; each entry of `step_ns` and `warmup_ns`
    is the time of a call divided by it. `burst_ns`: K steps with one wait at the end, then 2K, K
    being `burst_steps` (empty in rounds without). `drain_ns`: copying the parameters to the host
    right after the last wait, and once more. `cpu_ns`: processor time of the timed steps, of all
    threads. `load`: the machine's load average then (tasks, of the last minute). `digest`: of the
    parameters after the last step, `replayed`: after the same steps done
    again without a clock; both None in rounds that were not replayed.
    """

    session: Count = 0
    round: int
    place: int
    at_once: Few = 1
    step_ns: list[Nanoseconds]
    gather_ns: list[Nanoseconds]
    put_ns: list[Nanoseconds]
    warmup_ns: list[Nanoseconds]
    products_ns: list[Nanoseconds]
    burst_steps: Few = 0
    burst_ns: list[Nanoseconds] = []
    drain_ns: list[Nanoseconds] = []
    cpu_ns: Nanoseconds | None = None
    load: float | None = None
    digest: str | None = None
    replayed: str | None = None


class Told(Stored, kw_only=True):
    """What a process makes of a batch that fails, at the reference's own state.

    `raised`: what the framework said, where it refused; `largest`: of its outputs; `gradient`: norm
    of all its gradients; `silent`: as `Failure`'s. None: it gave none.
    """

    label: str
    dtype: str
    raised: str | None
    loss: Number | None
    largest: Number | None
    gradient: Number | None
    silent: dict[str, Number] = {}


class Failure(Stored, kw_only=True):
    """A training that cannot go on, as the reference found before all others.

    `kind`: "dead" (every output and every gradient is 0) or "undefined" (an output exceeds 1, where
    the loss has no value); `step`: whose forward pass it is, of `seed`; `compared`: steps that were
    compared. `largest`: of the outputs there; `silent`: by layer with a ReLU, the share of samples
    for which every unit is 0.
    """

    step: int
    kind: Literal["dead", "undefined"]
    compared: int
    seed: int
    largest: Number
    silent: dict[str, Number]
    told: list[Told] = []


class LeftBehind(Stored, kw_only=True):
    """A process that a worker had started and that outlived it; the harness ended it.

    `cpu_ns`: its processor time, and that of its children that have ended.
    """

    command: str
    cpu_ns: Nanoseconds


class Process(Stored, kw_only=True):
    """One worker process: what it said of itself and how it ended.

    `left_behind`: processes that it had started and that outlived it.
    `session`: 0 for those that numbers were measured in, from 1 on those for timing only.
    `peak_device_bytes`: None where the device's memory is the host's.
    """

    label: str
    dtype: str
    session: Count = 0
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None
    facts: dict[str, str] = {}
    import_ns: Nanoseconds | None = None
    build_ns: Nanoseconds | None = None
    first_step_ns: dict[str, Nanoseconds] = {}
    peak_rss_bytes: Bytes | None = None
    peak_device_bytes: Bytes | None = None
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    stderr_tail: str = ""
    left_behind: list[LeftBehind] = []


class Results(Stored, kw_only=True):
    """All that was measured of one label."""

    processes: list[Process] = []
    measurements: list[Measurement] = []
    training: list[Training] = []
    repeats: list[Repeat] = []
    churn: list[Churn] = []
    operators: list[Operator] = []
    rounds: list[Round] = []


class Roof(Stored, kw_only=True):
    """What one process reached at its best, with all its threads: the roof of a roofline.

    `flop_per_s`: in one large matrix product of `size` x `size`; `copy_bytes_per_s`: read and
    written while copying arrays far larger than the caches (None where only the product was taken).
    """

    label: str
    dtype: str
    size: int
    flop_per_s: float
    copy_bytes_per_s: float | None = None


class KnownAnswer(Stored, kw_only=True):
    """One pinned answer of the shared code."""

    name: str
    want: str
    got: str


class DatasetFacts(Stored, kw_only=True):
    """The data of the run; `source` says where it was found, `class_names` what the labels mean."""

    name: str
    synthetic: bool
    sha256: str
    train: int
    test: int
    source: str
    class_names: list[str] = []


class Samples(Stored, kw_only=True):
    """The file beside the record that holds its series, one row a training or round.

    `rows`: how many; `numbers`: how many all their lists hold; `sha256`: of the file's bytes, in
    hexadecimal.
    """

    file: Literal["steps.parquet"] = STEPS
    rows: Count
    numbers: Count
    sha256: str


class Record(Stored, kw_only=True):
    """One run, whole. `ended`: "finished", "interrupted", or one line on what stopped it.

    `cases` and `lockstep_steps` (steps after which lockstep is compared) say what every label owes.
    `explained`: of each label whose first divergence an explanation was sought for.
    `reference`: the float64 reference's own trainings; `envelope`: replicas of it in float32.
    `again`: the second process of a label that enters timing twice (A against A). `roofs`: what
    processes reach in a large product and in a copy. `differing`: some test images that are
    classified differently, those that most labels differ on first. `failure`: a training that
    cannot go on. `truths`: of single operators. `samples`: where the series of
    trainings and rounds are while it is stored; None in memory, where they are filled in.
    `went_on`: the runs that were cut off and that this one goes on from, oldest first; `started`
    and `seconds` are its own.
    """

    schema: int = SCHEMA
    run: str
    started: str
    seconds: float
    ended: str
    harness_version: str
    plan: Plan
    machine: dict[str, str]
    dataset: DatasetFacts | None
    known_answers: list[KnownAnswer] = []
    cases: list[Case] = []
    lockstep_steps: list[int] = []
    reference: list[Training] = []
    envelope: list[Replica] = []
    kept: list[Kept] = []
    explained: list[Explained] = []
    results: dict[str, Results]
    again: dict[str, Results] = {}
    roofs: list[Roof] = []
    differing: list[Differing] = []
    failure: Failure | None = None
    truths: list[Truth] = []
    samples: Samples | None = None
    went_on: list[str] = []
