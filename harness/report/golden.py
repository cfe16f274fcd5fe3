"""Golden files for people: what one holds, and how far a backend is from it. Uses rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.record.schema import Number
from harness.report.terminal import print_table
from harness.report.words import MARKS, figure
from harness.run.golden import Checked, Header, summary
from harness.text import clean
from harness.verdict.numbers import within

if TYPE_CHECKING:
    from rich.console import Console

HEADER = ("steps", "tensor", "distance", "limit", "worst element", "got", "expected")


def described(header: Header) -> str:
    """What a golden file holds, in one line."""
    found = ", ".join(f"{name} {version}" for name, version in header.writer.versions.items())
    steps = ", ".join(map(str, header.after))
    return clean(
        f"{header.workload.name} by {header.writer.label} ({found}), {header.data.name}, "
        f"seed {header.seed}, float64; parameters after {steps} steps; {header.written}"
    )


def rows(found: Checked) -> list[list[str]]:
    """A row a tensor and number of steps."""
    table = []
    for steps, m in found.measured:
        mark = MARKS["agree" if within(m, found.limit) else "disagree"]
        worst = m.worst
        table.append(
            [
                str(steps),
                m.tensor,
                f"{mark} {m.problem or figure(m.distance)}",
                figure(found.limit.value),
                "–" if worst is None else str(worst.index),
                "–" if worst is None else _value(worst.got),
                "–" if worst is None else _value(worst.want),
            ]
        )
    return table


def _value(value: Number) -> str:
    return value if isinstance(value, str) else f"{value:.8g}"


def show(found: Checked, console: Console) -> None:
    """What it is held to, the table, one sentence."""
    from rich.text import Text

    console.print(Text(f"golden: {described(found.header)}"), soft_wrap=True)
    told = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    console.print(Text(clean(f"{found.label}: {told}")), soft_wrap=True)
    print_table(console, list(HEADER), rows(found), "")
    good = found.first is None
    mark = MARKS["agree" if good else "disagree"]
    colour = "bold green" if good else "bold red"
    console.print(Text(clean(f"{mark} {summary(found)}"), style=colour), soft_wrap=True)
