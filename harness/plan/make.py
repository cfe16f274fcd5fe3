"""The user's words -> a Plan: each choice checked, with one line for any that cannot be used."""

from __future__ import annotations

import os
import sys

import msgspec

from backends import BACKENDS, PRECISIONS, Entry
from harness.data import CHOICES
from harness.errors import InputError
from harness.interface import Workload
from harness.plan import interpreters, plugins
from harness.plan.model import (
    CONTROL,
    DEVICES,
    DTYPES,
    REFERENCE,
    Expected,
    Label,
    Plan,
    Provided,
    Timeouts,
    Timing,
)
from harness.plan.profiles import SMALL_SIZES, TABLE
from harness.workloads import WORKLOADS
from harness.workloads.reference.limits import RUNGS
from harness.workloads.reference.screening import SCREEN_MARGINS

PROFILES = ("smoke", "default", "full")

# Above this many threads a step of 0.2 GFLOP gains nothing and noise grows.
MOST_DEFAULT_THREADS = 8


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


def _workload(spec: str) -> tuple[Workload, Provided | None]:
    if spec in WORKLOADS:
        return WORKLOADS[spec], None
    from harness.workers import providers

    return providers.describe(spec)


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
