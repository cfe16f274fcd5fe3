"""What a golden file says of itself, and what came of a check against it: as data and words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from harness.interface import Workload
from harness.record.schema import Measurement
from harness.text import short
from harness.verdict.finding import Evidence
from harness.verdict.numbers import sentence_for
from harness.workloads.reference.limits import Limit

# What a golden file is asked of: a float64 training, step by step.
RUNG = "lockstep"

Steps = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
# A source's name, or that of a user's own file: no path, one line.
Name = Annotated[str, msgspec.Meta(pattern=r"^[^/\x00-\x1f\x7f]+$")]
Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Writer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who trained: a backend as its label's process told it, or the harness's own reference."""

    label: str
    backend: str
    variant: str
    versions: dict[str, str]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data set; `sha256` as `data.Dataset` has it."""

    name: Name
    sha256: Hex


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a golden file says of itself.

    `after`: numbers of steps after which its parameters are there, ascending; the last is how many
    steps were trained. `shared`: digests of the initial parameters, and of the order of samples;
    `tensors`: of the file's own. `written`: when.
    """

    schema: int
    workload: Workload
    data: Data
    seed: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
    after: Annotated[list[Steps], msgspec.Meta(min_length=1, max_length=10_000)]
    writer: Writer
    harness_version: str
    written: str
    shared: dict[str, Hex]
    tensors: dict[str, Hex]


class Checked(NamedTuple):
    """One backend against a golden file: every measurement, with the limit it is held to.

    `first`: the first over it. `first_loss`: the first step whose own loss is, or None.
    """

    header: Header
    label: str
    versions: dict[str, str]
    limit: Limit
    measured: list[tuple[int, Measurement]]
    first: Evidence | None
    first_loss: int | None


def summary(checked: Checked) -> str:
    """What a check found, in one sentence."""
    writer = checked.header.writer.label
    if checked.first is None:
        largest = max(
            (m.distance for _, m in checked.measured if isinstance(m.distance, float)), default=0.0
        )
        return (
            f"{checked.label} computes what {writer} did over {checked.header.after[-1]} steps: at "
            f"most {short(largest)} apart, limit {short(checked.limit.value)}"
        )
    sentence = f"{checked.label} is not what {writer} was: {sentence_for(RUNG, checked.first)}"
    if checked.first_loss is not None:
        sentence += f"; the first loss that differs is that of step {checked.first_loss}"
    return sentence


def to_json(checked: Checked, file: Path) -> dict[str, Any]:
    """A check as plain data."""
    first = checked.first
    names = ("step", "tensor", "index", "expected", "got", "distance", "limit", "problem")
    return {
        "golden": str(file),
        "verdict": "agree" if first is None else "disagree",
        "summary": summary(checked),
        "label": checked.label,
        "versions": checked.versions,
        "header": msgspec.to_builtins(checked.header),
        "limit": checked.limit.value,
        "measurements": [
            {
                "steps": n,
                "tensor": m.tensor,
                "distance": m.distance,
                "problem": m.problem,
                "element": m.worst and m.worst.index,
                "got": m.worst and m.worst.got,
                "expected": m.worst and m.worst.want,
            }
            for n, m in checked.measured
        ],
        "first_divergence": first
        and {"rung": RUNG}
        | {name: getattr(first, name) for name in names}
        | {"first_loss": checked.first_loss},
    }
