"""Choices -> a Plan: each choice checked, with one line for any that cannot be carried out.

Looks for packages and device files; starts no worker and imports no framework.
"""

from __future__ import annotations

import os
import sys

import msgspec

from backends import BACKENDS, PRECISIONS, Entry
from backends.arguments import OPERATORS
from backends.rooms import place
from harness.errors import InputError
from harness.interface import Workload
from harness.plan import interpreters, plugins
from harness.plan.choices import Choices, check_choice, check_plant, parse_seeds
from harness.plan.model import (
    CONTROL,
    DEVICES,
    DTYPES,
    REFERENCE,
    Label,
    Plan,
    Provided,
    Timeouts,
    Timing,
    at_most,
    judged_tensors,
)
from harness.plan.profiles import SMALL_SIZES, TABLE, Profile, in_blocks, within
from harness.text import fits
from harness.workloads import DEFAULT, NETS, WORKLOADS
from harness.workloads.reference.composed import Net
from harness.workloads.reference.limits import RUNGS
from harness.workloads.reference.screening import SCREEN_MARGINS

# Above this many threads a step of 0.2 GFLOP gains nothing and noise grows.
MOST_DEFAULT_THREADS = 8

# By label: the backend, and the interpreter that it is to run under.
Entries = dict[str, tuple[Entry, str]]


def available_threads() -> int:
    """Processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_plan(
    choices: Choices,
    workload: Workload = WORKLOADS[DEFAULT],
    net: Net | None = NETS[DEFAULT],
    provided: Provided | None = None,
) -> Plan:
    """A Plan that carries out `choices`. Raises InputError, in one line, where that cannot be.

    workload: what is trained; net: its layers, where they are known; `provided`: where it comes
    from, if it is a plug-in.
    Without `backends` one whose framework is missing, or that has no such precision, is skipped
    with its reason; a backend asked for by name that is not available is an error. The precision is
    one for the whole plan: reduced runs never stand beside strict ones. With `all_variants` every
    variant enters, the default one under its label; one that this device does not have is skipped.
    The control arm enters timing twice where there are several sessions.
    """
    profile = _profile(choices)
    entries = find_entries(choices)
    _check_texts(choices, entries)
    labels, skipped = _labels(choices, entries, workload.model)
    reference = _reference(choices.reference, provided, workload, labels, skipped)
    brought = _brought() if profile.operators or choices.operators else None
    _check_expected(choices, workload, labels, brought)
    timeout_s = choices.timeout_s
    return Plan(
        profile=choices.profile,
        workload=workload,
        net=net,
        labels=labels,
        reference=reference,
        dataset=choices.dataset,
        data_dir=choices.data_dir,
        seeds=profile.seeds if choices.seeds is None else parse_seeds(choices.seeds),
        threads=choices.threads or min(available_threads(), MOST_DEFAULT_THREADS),
        steps=at_most(profile.steps, workload.steps),
        checkpoints=profile.checkpoints,
        lockstep_epochs=profile.lockstep_epochs,
        screen_margin=SCREEN_MARGINS[choices.precision],
        timing=_timing(
            choices,
            in_blocks(profile.timing, workload),
            [n for n in labels if n not in skipped],
        ),
        # Its limit comes from replicas of a reference in float32.
        trajectory=(
            profile.trajectory.within(workload.steps)
            if provided is None or provided.reference
            else None
        ),
        small_sizes=SMALL_SIZES,
        small_steps=profile.small_steps,
        operators=brought is not None,
        brought=brought or {},
        expect=choices.expect,
        timeouts=within(workload) if timeout_s is None else Timeouts(timeout_s, timeout_s),
        memory_headroom=choices.memory_headroom,
        skipped=skipped,
        provided=provided,
        rooms=_rooms(choices.rooms),
    )


def _profile(choices: Choices) -> Profile:
    """The profile's row of the table; InputError where a choice is none that there is."""
    check_choice("--profile", choices.profile, tuple(TABLE))
    check_choice("--dtype", choices.dtype, DTYPES)
    check_choice("--precision", choices.precision, PRECISIONS)
    if choices.precision != "strict" and choices.dtype != "float32":
        raise InputError(
            f"--precision {choices.precision}: for float32 only; leave out --dtype {choices.dtype}"
        )
    check_choice("--device", choices.device, DEVICES)
    if choices.threads is not None and not 1 <= choices.threads <= available_threads():
        raise InputError(f"--threads {choices.threads}: choose from 1 to {available_threads()}")
    if choices.all_variants and choices.variants:
        raise InputError("--all-variants and --variant: choose one")
    return TABLE[choices.profile]


def find_entries(choices: Choices) -> Entries:
    """The backends that are asked for, or those that enter by themselves."""
    entries: Entries = {}
    pythons = choices.settled | choices.pythons
    for text in choices.backends or BACKENDS:
        label, spec = plugins.split(text)
        # Without a label, what is named that way may lie under the interpreter of that name.
        name = label or spec
        python = interpreters.locate(pythons[name]) if name in pythons else ""
        entry = plugins.find(spec, python)
        label = label or entry.name
        if label in entries:
            raise InputError(f"--backend {text!r}: every label once; give LABEL=SPEC")
        if not python and label in pythons:
            python = interpreters.locate(pythons[label])
        entries[label] = entry, python or sys.executable
    return entries


def _check_texts(choices: Choices, entries: Entries) -> None:
    """InputError for a label that is not in the plan, and for text that a record cannot hold."""
    tables = {
        "--variant": choices.variants,
        "--plant": choices.plants,
        "--python": choices.pythons,
    }
    for option, table in tables.items():
        for name in table:
            check_choice(option, name, tuple(entries))
    for text in (
        choices.data_dir or "",
        choices.reference,
        *(entry.source for entry, _ in entries.values()),
        *choices.variants.values(),
        *choices.plants.values(),
        *(known.reason for known in choices.expect),
    ):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{text!r}: text that is not UTF-8 cannot be stored in a record"
            ) from None


def _brought() -> dict[str, str]:
    """Single operators that installed packages bring, by name; a built-in one stays itself."""
    found = plugins.named(plugins.OPERATOR_GROUP)
    return {name: entry.source for name, entry in found.items() if name not in OPERATORS}


def _rooms(folder: str | None) -> str:
    """The path of a user's own rooms, absolute, "" for none; InputError where it is no folder."""
    if folder is not None and not os.path.isdir(folder):
        raise InputError(f"--rooms {folder}: there is no such folder")
    return os.path.abspath(folder) if folder is not None else ""


def _labels(
    choices: Choices, entries: Entries, model: str
) -> tuple[dict[str, Label], dict[str, str]]:
    """The configurations under test, and why some of them are skipped, by label."""
    planted = {name: check_plant(text) for name, text in choices.plants.items()}
    labels: dict[str, Label] = {}
    skipped: dict[str, str] = {}
    for name, (entry, python) in entries.items():
        first = choices.variants.get(name, entry.variants[0])
        if not entry.plug_in:
            check_choice(f"--variant {name}=", first, entry.variants)
        for variant in entry.variants if choices.all_variants else (first,):
            # Of all variants, only the default of a backend that was named is sure to be wanted.
            named = bool(choices.backends) or name in choices.variants
            by_name = named and variant == first
            reason = (
                plugins.missing(entry, choices.device, python)
                or entry.lacks(choices.device, choices.precision)
                or entry.lacks_variant(variant, choices.device)
                or _lacks_model(entry, model, choices.rooms)
            )
            if reason and by_name:
                raise InputError(f"--backend {name}: {reason}")
            label = name if variant == first else f"{name}:{variant}"
            if reason:
                skipped[label] = reason
            labels[label] = Label(
                backend=entry.name,
                variant=variant,
                device=choices.device,
                dtype=choices.dtype,
                precision=choices.precision,
                python=python,
                twin=choices.dtype == "float32",
                asked_for=by_name,
                plant=planted.get(name) if variant == first else None,
                source=entry.source,
                origin=entry.origin,
                environment=dict(entry.environment),
                default=variant == entry.variants[0],
            )
    return labels, skipped


def _lacks_model(entry: Entry, model: str, rooms: str | None) -> str | None:
    """Why a built-in backend has no such model; a plug-in's own process says so."""
    if entry.plug_in or place(entry.name, model, rooms or "") is not None:
        return None
    where = f" nor {rooms}/{entry.name}" if rooms else "; --rooms names a folder with your own"
    return f"{entry.name} has no file for {model} in its room{where}"


def _timing(choices: Choices, timing: Timing, entering: list[str]) -> Timing:
    """A profile's timing with the user's numbers; InputError for ones that cannot be."""
    for option, value, most in (
        ("--sessions", choices.sessions, 100),
        ("--rounds", choices.rounds, 10_000),
    ):
        if value is not None and not 1 <= value <= most:
            raise InputError(f"{option} {value}: choose from 1 to {most}")
    sessions = choices.sessions or timing.sessions
    again = CONTROL if CONTROL in entering else next(iter(entering), None)
    return msgspec.structs.replace(
        timing,
        sessions=sessions,
        rounds=choices.rounds or timing.rounds,
        again=again if sessions > 1 else None,
    )


def _reference(
    reference: str,
    provided: Provided | None,
    workload: Workload,
    labels: dict[str, Label],
    skipped: dict[str, str],
) -> str:
    """What judges; InputError unless it comes with the workload, is a float64 process or a file."""
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
    if provided is None and os.path.isfile(reference) and reference not in possible:
        return os.path.abspath(reference)
    have = () if provided is not None and not provided.reference else (own,)
    return check_choice("--reference", reference, (*have, *possible))


def _check_expected(
    choices: Choices, workload: Workload, labels: dict[str, Label], brought: dict[str, str] | None
) -> None:
    """InputError unless every declared difference is one that this plan can have.

    brought: operators of packages; None where no operator is asked for.
    """
    operators = () if brought is None else (*OPERATORS, *brought)
    tensors = judged_tensors(workload)
    for known in choices.expect:
        if not any(fits(label, known.label) for label in labels):
            check_choice("--expect", known.label, tuple(labels))
        if known.rung.removesuffix("/scratch") in operators:
            continue
        # A step's time is no known difference of the numbers: its band is in the plan.
        check_choice(f"--expect {known.label}:", known.rung, RUNGS[:-1])
        of = tensors.get(known.rung, ())
        if of and known.tensor != "*" and not any(fits(name, known.tensor) for name in of):
            check_choice(f"--expect {known.label}:{known.rung}:", known.tensor, tuple(of))
    places = {(known.label, known.rung, known.tensor) for known in choices.expect}
    if len(places) < len(choices.expect):
        raise InputError("--expect: every rung of a label once, or every tensor of it")


def missing(name: str, device: str = "cpu") -> str | None:
    """Why the backend of this name cannot run here, see `plugins.missing`."""
    return plugins.missing(plugins.find(name), device)
