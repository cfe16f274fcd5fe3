"""What every export shares: which times may be shown, and texts and names that harm no reader."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.errors import InputError
from harness.plan.model import CONFIGURATION
from harness.record.schema import Record
from harness.results.store import moment
from harness.text import clean
from harness.verdict.timings import StepTime
from harness.verdict.verdict import Verdict, agreement

# A text of a record is cut here, a name there: what a database column or a chart still takes.
LONGEST_TEXT = 2000
LONGEST_NAME = 200


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


def ranked(run: Run) -> tuple[list[str], list[LeftOut]]:
    """The labels whose times may be shown, and why the others' may not.

    A time is shown only beside agreement: the label's numbers agree, all its processes ended well,
    and its times are not void.
    """
    names, left_out = [], []
    for name, label in run.verdict.labels.items():
        if label.status != "ok":
            reason = f"{label.status}: {label.reason}"
        elif label.step_time is None or name not in run.record.results:
            reason = "not timed"
        elif (reason := agreement(label)) == "agree":
            names.append(name)
            continue
        left_out.append(LeftOut(run.record.run, f"the times of {name}", reason))
    return names, left_out


def some_ranked(run: Run) -> tuple[dict[str, StepTime], list[LeftOut]]:
    """The step times that may be shown, by label; InputError where there is none."""
    names, left_out = ranked(run)
    labels = run.verdict.labels
    shown = {name: time for name in names if (time := labels[name].step_time) is not None}
    if not shown:
        reasons = "; ".join(f"{one.what}: {one.reason}" for one in left_out) or "it has no label"
        raise InputError(line(f"run {run.record.run}: no time may be shown ({reasons})"))
    return shown, left_out


def configuration(run: Run, name: str) -> dict[str, str]:
    """What a label is, beside the versions of its libraries."""
    label = run.record.plan.labels[name]
    return {field: getattr(label, field) for field in CONFIGURATION}


def line(text: str, longest: int = LONGEST_TEXT) -> str:
    """Text on one line, printable, without space at its ends, and not longer than `longest`."""
    return clean(text[:longest]).strip()


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Each name (all different) as a short line; no two the same, none empty."""
    return _numbered({name: line(name, LONGEST_NAME) or "(no name)" for name in names})


def file_names(names: Iterable[str]) -> dict[str, str]:
    """Each name (all different) as that of a file: letters, digits and ``-_.:@``, no two the same.

    None is empty or begins with a dot, so that none leads out of its folder.
    """
    safe = {name: re.sub(r"[^A-Za-z0-9_.:@-]", "_", name[:LONGEST_NAME]) for name in names}
    return _numbered({name: re.sub(r"^\.+", "_", short) or "_" for name, short in safe.items()})


def _numbered(wanted: dict[str, str]) -> dict[str, str]:
    """Names as they are wanted, with a number where one is taken."""
    shown: dict[str, str] = {}
    for name, short in wanted.items():
        again = (f"{short}-{number}" for number in itertools.count(2))
        taken = set(shown.values())
        shown[name] = next(each for each in itertools.chain([short], again) if each not in taken)
    return shown


def started(record: Record) -> float:
    """When the run began, seconds since 1970; 0 where the record does not say it well."""
    begun = moment(record.started)
    return max(0.0, begun.timestamp()) if begun is not None else 0.0


def missing(name: str, error: ImportError) -> InputError:
    """The error for an export whose client library is not there."""
    command = f"python -m pip install 'framework-harness[{name}]'"
    return InputError(f"export {name}: its client library is missing ({error}): {command}")
