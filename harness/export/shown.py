"""What every export shares: which times may be shown, and texts and names that harm no reader."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import InputError
from harness.record.schema import Record, Results
from harness.results.store import moment
from harness.text import clean
from harness.verdict.timings import StepTime
from harness.verdict.verdict import Verdict, agreement

# A text of a record is cut here, a name there: what a database column or a chart still takes.
LONGEST_TEXT = 2000
LONGEST_NAME = 200
# Figures of a label's step time but for its median: what, the field of StepTime, unit.
FIGURES = (
    ("floor multiple", "floor_ratio", "GEMM floors"),
    ("throughput", "throughput_ns", "ns"),
    ("first step", "first_step_ns", "ns"),
    ("compile", "compile_ns", "ns"),
    ("gather", "gather_median_ns", "ns"),
    ("put", "put_median_ns", "ns"),
    ("epoch", "epoch_ns", "ns"),
    ("evaluation", "eval_ns", "ns"),
    ("GEMM floor", "gemm_floor_ns", "ns"),
    ("loop overhead", "loop_overhead", "ratio"),
    ("cores", "cores", "cores"),
)


class Run(NamedTuple):
    """A stored run: its record, the verdict on it, and its folder."""

    record: Record
    verdict: Verdict
    folder: Path


class LeftOut(msgspec.Struct):
    """What an export does not hold, and why."""

    run: str
    what: str
    reason: str


class Timed(NamedTuple):
    """A label whose times may be shown."""

    time: StepTime
    results: Results


def ranked(run: Run) -> tuple[dict[str, Timed], list[LeftOut]]:
    """The labels whose times may be shown, and why the others' may not.

    A time is shown only beside agreement: the label's numbers agree, all its processes ended well,
    and its times are not void.
    """
    found, left_out = {}, []
    for name, label in run.verdict.labels.items():
        results, told = run.record.results.get(name), agreement(label)
        if label.status != "ok":
            reason = f"{label.status}: {label.reason}"
        elif label.step_time is None or results is None:
            reason = "not timed"
        elif told != "agree":
            reason = told
        else:
            found[name] = Timed(label.step_time, results)
            continue
        left_out.append(LeftOut(run.record.run, f"the times of {name}", reason))
    return found, left_out


def some_ranked(run: Run) -> tuple[dict[str, Timed], list[LeftOut]]:
    """As `ranked`; InputError where it is no label at all."""
    found, left_out = ranked(run)
    if not found:
        told = "; ".join(f"{one.what}: {one.reason}" for one in left_out) or "it has no label"
        raise InputError(line(f"run {run.record.run}: no time may be shown ({told})"))
    return found, left_out


def line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text on one line, printable, without space at its ends, and not longer than `longest`."""
    return clean(text[:longest]).strip()


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Each name (all different) as a short line; no two the same, none empty."""
    found: dict[str, str] = {}
    for name in names:
        _add(found, name, line(name, LONGEST_NAME) or "(no name)")
    return found


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Each name (all different) as that of a file: letters, digits and ``-_.:@``, no two the same.

    None is empty or begins with a dot, so that none leads out of its folder.
    """
    found: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9_.:@-]", "_", name[:LONGEST_NAME])
        _add(found, name, re.sub(r"^\.+", "_", safe) or "_")
    return found


def _add(found: dict[str, str], name: str, wanted: str) -> None:
    """Adds a name as it is wanted, with a number where that is taken."""
    shown, number = wanted, 1
    while shown in found.values():
        number += 1
        shown = f"{wanted}-{number}"
    found[name] = shown


def started(record: Record) -> float:
    """When the run began, seconds since 1970; 0 where the record does not say it well."""
    begun = moment(record.started)
    return max(0.0, begun.timestamp()) if begun is not None else 0.0


def missing(name: str, error: ImportError) -> InputError:
    """The error for an export whose client library is not there."""
    command = f"python -m pip install 'framework-harness[{name}]'"
    return InputError(f"export {name}: its client library is missing ({error}): {command}")
