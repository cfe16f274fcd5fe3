"""What to run: one frozen Plan, made from a profile and the user's choices, stored with the record.

Everything that decides what is measured is data here, with its reason. Imports no framework.
"""

from __future__ import annotations

import os
import sys

import msgspec

from backends import BACKENDS, BUILT_IN, PRECISIONS, Entry
from harness import interpreters, plugins
from harness.data import CHOICES
from harness.errors import InputError
from harness.interface import Workload
from harness.limits import RUNGS
from harness.workloads import WORKLOADS

DTYPES = ("float32", "float64")
DEVICES = ("cpu", "cuda")
PROFILES = ("smoke", "default", "full")
REFERENCE = "harness/float64"
# The control arm of timing: its products are the GEMM floor on a CPU, and it enters twice.
CONTROL = "numpy"

# Above this many threads a step of 0.2 GFLOP gains nothing and noise grows.
MOST_DEFAULT_THREADS = 8

# `Plan.screen_margin` by precision. strict: four times the largest rounding error seen in four
# frameworks (15). Rounded operands move a pre-activation by some u_r * ||x * w||2; 64 * u_r * S
# would replace every sample. Simulated on the real data: tf32 then flips in 2 of 302 batches (40
# of 256 samples replaced on average, 85 at most), bfloat16 in 17 (124, 198); 12000 would leave 1,
# and replace 159 (227). The limits of the reduced gradients include what is left.
SCREEN_MARGINS = {"strict": 64.0, "tf32": 2000.0, "bfloat16": 8000.0}


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configuration under test. `twin` asks for a float64 process beside a float32 one.

    `python`: the interpreter of its processes. `source`: MODULE:CLASS or FILE:CLASS; `origin`: how
    that was found; `environment`: variables set before anything is imported. (Records before
    schema 4 do not tell the three.)
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
    band: float = 4.0
    burst_every: int = 3
    burst_steps: int = 6
    again: str | None = None
    spread: float = 1.15
    least: float = 0.03
    factor: float = 1.10


class Trajectory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How free-running float32 is judged: against `replicas` of the float32 reference.

    A replica trains under changes exact in real arithmetic (see `harness/envelope.py`). *start*:
    the first `start_steps` steps of epoch 0 on batches without samples whose reference has a
    pre-activation |z| < `clearance` (5 of 256 on average); compared after `start_after` steps.
    Without flipped units replicas stay within 1 % of one another, so the limit may be close:
    `start_factor` times the largest. *late*: whole epochs on plain batches, compared at epoch ends
    from epoch `late_from` on (None: not run), when every run has flipped a few units: `late_factor`
    times the largest of 8. In between no band is both safe and useful (up to 14 % false alarms a
    run), so nothing is judged there.
    """

    start_steps: int
    start_after: tuple[int, ...]
    late_from: int | None = None
    replicas: int = 8
    clearance: float = 2e-5
    start_factor: float = 1.5
    late_factor: float = 3.0


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A known difference: this rung of this label is to disagree, and why. If not, it fails."""

    label: str
    rung: str
    reason: str


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
    `operators`: measure the table of single operators. `expect`: differences known beforehand.
    `memory_headroom`: bytes a worker may allocate beyond what it holds after import, or None.
    `provided`: of a workload that is a plug-in. `reference`: what judges; a float64 process of a
    label, or NAME/float64, the reference that comes with the harness or the plug-in.
    """

    profile: str
    workload: Workload
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
    expect: tuple[Expected, ...] = ()
    timeouts: Timeouts = Timeouts()
    memory_headroom: int | None = None
    skipped: dict[str, str] = {}
    provided: Provided | None = None

    @property
    def others(self) -> list[str]:
        """Whose code is not this project's: labels, and the workload."""
        labels = [name for name, label in self.labels.items() if label.origin != BUILT_IN]
        return labels + (["the workload"] if self.provided is not None else [])


class Profile(msgspec.Struct, frozen=True):
    """One row of the table of profiles (see Plan for the fields)."""

    steps: int | None
    checkpoints: tuple[int, ...] | None
    lockstep_epochs: int
    seeds: tuple[int, ...]
    timing: Timing
    trajectory: Trajectory
    small_steps: tuple[int, ...] = (0, -2)
    operators: bool = False


# The sizes of small batches: odd ones, where a kernel's tail and the mean over one sample show.
SMALL_SIZES = (7, 1)
# A confident sample's p - 1 cancels: at batch 1 the loss of correct code differs by up to 5e-3.
SMALL_LEAST_LOSS = 1.0

# checkpoints: dense at first, where training changes fastest; -2 is the last full batch and -1 the
# short one. 760: the step whose unscreened batch flips a unit (seed 0, real data). None: all, which
# means the first ten, every tenth, and the last two.
TABLE: dict[str, Profile] = {
    "smoke": Profile(
        30,
        (0, 1, 10, -2, -1),
        1,
        (0,),
        Timing(sessions=1, rounds=5, burst_every=1),
        Trajectory(20, (20,)),
        small_steps=(0,),
    ),
    "default": Profile(
        None,
        (0, 1, 2, 5, 10, 20, 50, 200, 760, 1500, -2, -1),
        1,
        (0,),
        Timing(sessions=1, rounds=30),
        Trajectory(100, (20, 50, 100)),
    ),
    "full": Profile(
        None,
        None,
        10,
        (0, 1, 2, 3, 4),
        Timing(sessions=5, rounds=30),
        Trajectory(100, (20, 50, 100), late_from=3),
        small_steps=(0, 200, 760, 1500, -2),
        operators=True,
    ),
}


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


def _places(given: tuple[int, ...], steps: int) -> list[int]:
    return [c if c >= 0 else steps + c for c in given]


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from text like 0,1,2 or 0-4 or a mixture; non-negative, no repeats."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or not text.isascii():
            raise InputError(f"--seeds {text!r}: expected numbers like 0,1,2 or 0-4")
        if len(first) > 9 or len(last) > 9 or not 0 <= int(last or first) - int(first) < 1000:
            raise InputError(f"--seeds {text!r}: at most 1000 seeds, each below 10^9")
        seeds.extend(range(int(first), int(last or first) + 1))
    if len(seeds) > 1000:
        raise InputError(f"--seeds {text!r}: at most 1000 seeds, each below 10^9")
    if len(set(seeds)) != len(seeds):
        raise InputError(f"--seeds {text!r}: every seed once, at least one")
    return tuple(seeds)


def available_threads() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_choice(option: str, value: str, known: tuple[str, ...] | dict[str, object]) -> str:
    """`value` if it is known, else an InputError that names the choices."""
    if value not in known:
        raise InputError(f"{option} {value!r}: unknown; choose from {', '.join(known)}")
    return value


def make_plan(
    *,
    profile: str = "default",
    backends: tuple[str, ...] = (),
    variants: dict[str, str] | None = None,
    all_variants: bool = False,
    pythons: dict[str, str] | None = None,
    settled: dict[str, str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    precision: str = "strict",
    seeds: str | None = None,
    threads: int | None = None,
    dataset: str = "auto",
    data_dir: str | None = None,
    reference: str = REFERENCE,
    workload: str = "mlp-scratch",
    plants: dict[str, str] | None = None,
    timeout_s: float | None = None,
    memory_headroom: int | None = None,
    operators: bool = False,
    expect: tuple[Expected, ...] = (),
    sessions: int | None = None,
    rounds: int | None = None,
) -> Plan:
    """A Plan from the user's words. Raises InputError, in one line, for any that cannot be used.

    `backends`: [LABEL=]SPEC each, see `plugins.find`. Without them every built-in one enters that
    is made to, and one whose framework is missing, or has no such precision, is skipped with its
    reason; a backend asked for by name that is not available is an error. `pythons`: by label, its
    interpreter; `settled`: the same where a label that is not in the plan is passed over.
    `precision` is one for the whole plan: reduced runs never stand beside strict ones. With
    `all_variants` every variant enters, the default one under its label; one that this device does
    not have is skipped. The control arm enters timing twice where there are several sessions.
    """
    chosen = TABLE[check_choice("--profile", profile, PROFILES)]
    check_choice("--dtype", dtype, DTYPES)
    check_choice("--precision", precision, PRECISIONS)
    if precision != "strict" and dtype != "float32":
        raise InputError(f"--precision {precision}: for float32 only; leave out --dtype {dtype}")
    check_choice("--device", device, DEVICES)
    check_choice("--dataset", dataset, CHOICES)
    trained, provided = _workload(workload)
    if threads is not None and not 1 <= threads <= available_threads():
        raise InputError(f"--threads {threads}: choose from 1 to {available_threads()}")
    entries = _entries(backends, pythons or {}, settled or {})
    for option, table in (
        ("--variant", variants or {}),
        ("--plant", plants or {}),
        ("--python", pythons or {}),
    ):
        for name in table:
            check_choice(option, name, tuple(entries))

    texts = (data_dir or "", *(entry.source for entry, _ in entries.values()))
    for text in (
        *texts,
        *(variants or {}).values(),
        *(plants or {}).values(),
        *(known.reason for known in expect),
    ):
        if not _storable(text):
            raise InputError(f"{text!r}: text that is not UTF-8 cannot be stored in a record")
    planted = {name: check_plant(text) for name, text in (plants or {}).items()}

    if all_variants and variants:
        raise InputError("--all-variants and --variant: choose one")
    labels: dict[str, Label] = {}
    skipped: dict[str, str] = {}
    for name, (entry, python) in entries.items():
        chosen_variant = (variants or {}).get(name, entry.variants[0])
        if not entry.plug_in:
            check_choice(f"--variant {name}=", chosen_variant, entry.variants)
        for variant in entry.variants if all_variants else (chosen_variant,):
            # Of all variants, only the default of a backend that was named is sure to be wanted.
            named = bool(backends) or name in (variants or {})
            by_name = named and variant == chosen_variant
            reason = (
                plugins.missing(entry, device, python)
                or entry.lacks(device, precision)
                or entry.lacks_variant(variant, device)
            )
            if reason and by_name:
                raise InputError(f"--backend {name}: {reason}")
            label = f"{name}:{variant}" if all_variants and variant != chosen_variant else name
            if reason:
                skipped[label] = reason
            labels[label] = Label(
                backend=entry.name,
                variant=variant,
                device=device,
                dtype=dtype,
                precision=precision,
                python=python,
                twin=dtype == "float32",
                asked_for=by_name,
                plant=planted.get(name) if variant == chosen_variant else None,
                source=entry.source,
                origin=entry.origin,
                environment=dict(entry.environment),
            )
    reference = _reference(reference, provided, trained, labels, skipped)
    for known in expect:
        check_choice("--expect", known.label, tuple(labels))
        # A step's time is no known difference of the numbers: its band is in the plan.
        check_choice(f"--expect {known.label}:", known.rung, RUNGS[:-1])
    if len({(known.label, known.rung) for known in expect}) < len(expect):
        raise InputError("--expect: every rung of a label once")
    timeouts = Timeouts()
    if timeout_s is not None:
        timeouts = Timeouts(start_s=timeout_s, command_s=timeout_s)
    return Plan(
        profile=profile,
        workload=trained,
        labels=labels,
        reference=reference,
        dataset=dataset,
        data_dir=data_dir,
        seeds=parse_seeds(seeds) if seeds is not None else chosen.seeds,
        threads=threads or min(available_threads(), MOST_DEFAULT_THREADS),
        steps=chosen.steps,
        checkpoints=chosen.checkpoints,
        lockstep_epochs=chosen.lockstep_epochs,
        screen_margin=SCREEN_MARGINS[precision],
        timing=_timing(chosen.timing, sessions, rounds, labels, skipped),
        # Its limit comes from replicas of a reference in float32.
        trajectory=chosen.trajectory if provided is None or provided.reference else None,
        small_sizes=SMALL_SIZES,
        small_steps=chosen.small_steps,
        operators=chosen.operators or operators,
        expect=expect,
        timeouts=timeouts,
        memory_headroom=memory_headroom,
        skipped=skipped,
        provided=provided,
    )


def _entries(
    given: tuple[str, ...], pythons: dict[str, str], settled: dict[str, str]
) -> dict[str, tuple[Entry, str]]:
    """By label, the backend and the interpreter it is to run under; see `make_plan`."""
    found: dict[str, tuple[Entry, str]] = {}
    here = settled | pythons
    if not given:
        given = tuple(n for n, entry in BACKENDS.items() if entry.by_default or n in here)
    for text in given:
        label, spec = plugins.split(text)
        # Without a label, what is named that way may lie under the interpreter of that name.
        python = interpreters.locate(here[label or spec]) if (label or spec) in here else ""
        entry = plugins.find(spec, python)
        label = label or entry.name
        if label in found:
            raise InputError(f"--backend {text!r}: every label once; give LABEL=SPEC")
        if not python and label in here:
            python = interpreters.locate(here[label])
        found[label] = entry, python or sys.executable
    return found


def _timing(
    timing: Timing,
    sessions: int | None,
    rounds: int | None,
    labels: dict[str, Label],
    skipped: dict[str, str],
) -> Timing:
    """A profile's timing with the user's numbers; InputError for ones that cannot be."""
    for option, value, most in (("--sessions", sessions, 100), ("--rounds", rounds, 10_000)):
        if value is not None and not 1 <= value <= most:
            raise InputError(f"{option} {value}: choose from 1 to {most}")
    sessions = timing.sessions if sessions is None else sessions
    entering = [label for label in labels if label not in skipped]
    again = CONTROL if CONTROL in entering else next(iter(entering), None)
    return msgspec.structs.replace(
        timing,
        sessions=sessions,
        rounds=timing.rounds if rounds is None else rounds,
        again=again if sessions > 1 else None,
    )


def process_precision(label: Label, dtype: str) -> str:
    """The precision of one of a label's processes: the float64 twin of a reduced one is strict."""
    return label.precision if dtype == label.dtype else "strict"


def _workload(spec: str) -> tuple[Workload, Provided | None]:
    if spec in WORKLOADS:
        return WORKLOADS[spec], None
    from harness import providers

    return providers.describe(spec)


def judged_by_label(plan: Plan) -> bool:
    """Whether a label of the plan is the reference (no label has a "/")."""
    return "/" not in plan.reference


def _reference(
    reference: str,
    provided: Provided | None,
    workload: Workload,
    labels: dict[str, Label],
    skipped: dict[str, str],
) -> str:
    """What judges; InputError unless it comes with the workload or is a float64 process here."""
    own = REFERENCE if provided is None else f"{workload.name}/float64"
    if reference in (REFERENCE, own) and (provided is None or provided.reference):
        return own
    possible = [
        f"{name}:float64"
        for name, label in labels.items()
        if name not in skipped and (label.twin or label.dtype == "float64")
    ]
    if reference == REFERENCE and provided is not None:
        raise InputError(
            f"--workload {workload.name}: it brings no reference; name a label's with --reference, "
            f"choose from {', '.join(possible)}"
        )
    have = () if provided is not None and not provided.reference else (own,)
    return check_choice("--reference", reference, (*have, *possible))


def parse_expectation(text: str) -> Expected:
    """A declared difference from text like torch:forward=REASON; InputError otherwise."""
    place, equals, reason = text.partition("=")
    label, colon, rung = place.rpartition(":")
    if not equals or not colon or not label or not rung or not reason.strip():
        raise InputError(f"--expect {text!r}: expected LABEL:RUNG=REASON")
    return Expected(label, rung, reason.strip())


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_plant(text: str) -> str:
    """FILE:FUNCTION with the file's absolute path; workers run in a folder of their own."""
    file, colon, function = text.rpartition(":")
    if not colon or not function.isidentifier():
        raise InputError(f"--plant {text!r}: expected NAME=FILE:FUNCTION")
    if not os.path.isfile(file):
        raise InputError(f"--plant: there is no file {file}")
    return f"{os.path.abspath(file)}:{function}"


def missing(name: str, device: str = "cpu") -> str | None:
    """Why the backend of this name cannot run here, see `plugins.missing`."""
    return plugins.missing(plugins.find(name), device)
