"""What to run: one frozen Plan, made from a profile and the user's choices, stored with the record.

Everything that decides what is measured is data here, with its reason. Imports no framework.
"""

from __future__ import annotations

import os
import sys

import msgspec

from backends import BACKENDS
from harness.data import CHOICES
from harness.errors import InputError
from harness.interface import Workload
from harness.workloads import WORKLOADS

DTYPES = ("float32", "float64")
DEVICES = ("cpu", "cuda")
PROFILES = ("smoke", "default", "full")
REFERENCE = "harness/float64"

# Above this many threads a step of 0.2 GFLOP gains nothing and noise grows.
MOST_DEFAULT_THREADS = 8


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configuration under test. `twin` asks for a float64 process beside a float32 one."""

    backend: str
    variant: str
    device: str
    dtype: str
    precision: str
    python: str
    twin: bool
    asked_for: bool
    plant: str | None = None


class Timing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How steps are timed: `rounds` blocks of `steps` full batches for each worker, interleaved.

    Blocks of 30 steps keep a worker's part of a round under a tenth of a second, so that drift of
    a shared machine hits all alike. `warmup_rounds` and the `warmup_steps` at the start of every
    block are kept in the record and left out of figures: after the single-threaded gathering, JAX
    and TensorFlow need 15 to 30 steps until both cores are theirs again (2.4 in place of 1.5 ms a
    step until then, seen with no other load). `products`: sets of the floor's products a block.
    `band` is the largest ratio to the fastest that still counts as "timings agree".
    """

    sessions: int
    rounds: int
    warmup_rounds: int = 1
    warmup_steps: int = 18
    steps: int = 12
    products: int = 6
    band: float = 4.0


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
    `screen_margin`: a sample with a pre-activation |z| < margin * 2**-24 * S is replaced (64: four
    times the largest rounding error seen in four frameworks, 15); 0 switches screening off.
    `memory_headroom`: bytes a worker may allocate beyond what it holds after import, or None.
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
    timeouts: Timeouts = Timeouts()
    memory_headroom: int | None = None
    skipped: dict[str, str] = {}


class Profile(msgspec.Struct, frozen=True):
    """One row of the table of profiles (see Plan for the fields)."""

    steps: int | None
    checkpoints: tuple[int, ...] | None
    lockstep_epochs: int
    seeds: tuple[int, ...]
    timing: Timing


# checkpoints: dense at first, where training changes fastest; -2 is the last full batch and -1 the
# short one. 760: the step whose unscreened batch flips a unit (seed 0, real data). None: all, which
# means the first ten, every tenth, and the last two.
TABLE: dict[str, Profile] = {
    "smoke": Profile(30, (0, 1, 10, -2, -1), 1, (0,), Timing(sessions=1, rounds=5)),
    "default": Profile(
        None,
        (0, 1, 2, 5, 10, 20, 50, 200, 760, 1500, -2, -1),
        1,
        (0,),
        Timing(sessions=1, rounds=30),
    ),
    "full": Profile(None, None, 10, (0, 1, 2, 3, 4), Timing(sessions=1, rounds=60)),
}


def checkpoint_steps(plan: Plan, steps: int) -> list[int]:
    """The teacher-forced steps of a schedule of `steps` steps, ascending, none beyond it."""
    if plan.checkpoints is None:
        chosen = {*range(10), *range(0, steps, 10), steps - 2, steps - 1}
    else:
        chosen = {c if c >= 0 else steps + c for c in plan.checkpoints}
    return sorted(c for c in chosen if 0 <= c < steps)


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
    device: str = "cpu",
    dtype: str = "float32",
    seeds: str | None = None,
    threads: int | None = None,
    dataset: str = "auto",
    data_dir: str | None = None,
    reference: str = REFERENCE,
    workload: str = "mlp-scratch",
    plants: dict[str, str] | None = None,
    timeout_s: float | None = None,
    memory_headroom: int | None = None,
) -> Plan:
    """A Plan from the user's words. Raises InputError, in one line, for any that cannot be used.

    Without `backends` every known one enters, and one whose framework is missing is skipped with
    its reason; a backend asked for by name that is not available is an error.
    """
    chosen = TABLE[check_choice("--profile", profile, PROFILES)]
    check_choice("--dtype", dtype, DTYPES)
    check_choice("--device", device, DEVICES)
    check_choice("--dataset", dataset, CHOICES)
    check_choice("--workload", workload, dict(WORKLOADS))
    if reference != REFERENCE:
        raise InputError(f"--reference {reference!r}: unknown; choose from {REFERENCE}")
    for name in backends:
        check_choice("--backend", name, dict(BACKENDS))
    if len(set(backends)) != len(backends):
        raise InputError(f"--backend: {', '.join(backends)}: every backend once")
    if threads is not None and not 1 <= threads <= available_threads():
        raise InputError(f"--threads {threads}: choose from 1 to {available_threads()}")
    names = backends or tuple(BACKENDS)
    for option, table in (("--variant", variants or {}), ("--plant", plants or {})):
        for name in table:
            check_choice(option, name, tuple(names))

    for text in (data_dir or "", *(plants or {}).values()):
        if not _storable(text):
            raise InputError(f"{text!r}: a path that is not UTF-8 cannot be stored in a record")
    planted = {name: check_plant(text) for name, text in (plants or {}).items()}

    labels: dict[str, Label] = {}
    skipped: dict[str, str] = {}
    for name in names:
        entry = BACKENDS[name]
        variant = (variants or {}).get(name, entry.variants[0])
        check_choice(f"--variant {name}=", variant, entry.variants)
        reason = missing(name, device)
        if reason and backends:
            raise InputError(f"--backend {name}: {reason}")
        if reason:
            skipped[name] = reason
        labels[name] = Label(
            backend=name,
            variant=variant,
            device=device,
            dtype=dtype,
            precision="strict",
            python=sys.executable,
            twin=dtype == "float32",
            asked_for=bool(backends),
            plant=planted.get(name),
        )
    timeouts = Timeouts()
    if timeout_s is not None:
        timeouts = Timeouts(start_s=timeout_s, command_s=timeout_s)
    return Plan(
        profile=profile,
        workload=WORKLOADS[workload],
        labels=labels,
        reference=reference,
        dataset=dataset,
        data_dir=data_dir,
        seeds=parse_seeds(seeds) if seeds is not None else chosen.seeds,
        threads=threads or min(available_threads(), MOST_DEFAULT_THREADS),
        steps=chosen.steps,
        checkpoints=chosen.checkpoints,
        lockstep_epochs=chosen.lockstep_epochs,
        screen_margin=64.0,
        timing=chosen.timing,
        timeouts=timeouts,
        memory_headroom=memory_headroom,
        skipped=skipped,
    )


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
    """Why a backend cannot run here, with the command that mends it; None where it can.

    Looks for packages and device files only: no framework is imported.
    """
    from importlib.util import find_spec

    entry = BACKENDS[name]
    absent = [package for package in entry.package if find_spec(package) is None]
    if absent:
        return (
            f"{', '.join(absent)} not installed; "
            f"install with: python -m pip install 'framework-harness[{entry.extra}]'"
        )
    if device not in entry.devices:
        return f"{name} runs on {', '.join(entry.devices)} only, not on {device}"
    if device == "cuda" and not cuda_present():
        return "no CUDA device here (no NVIDIA driver is loaded)"
    return None


def cuda_present() -> bool:
    """Whether an NVIDIA driver is loaded and a device file is there (Linux, WSL)."""
    return any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/dxg"))
