"""Which labels' times may be shown, and what is said of the others."""

from __future__ import annotations

from harness.report.plots import axes
from harness.verdict.timings import StepTime
from harness.verdict.verdict import Verdict, agreement

Timed = dict[str, StepTime]


def fair(verdict: Verdict) -> list[str]:
    """The labels whose times may be shown: those that agree, with clocks that may be believed."""
    return [name for name, label in verdict.labels.items() if agreement(label) == "agree"]


def ranked(verdict: Verdict) -> Timed:
    """The step times that may be shown, by label."""
    return {
        name: time for name in fair(verdict) if (time := verdict.labels[name].step_time) is not None
    }


def unranked(verdict: Verdict) -> str:
    """A sentence that names the labels whose times are not shown, and why; or nothing."""
    told = [
        f"{axes.plain(name)} ({agreement(label)})"
        for name, label in verdict.labels.items()
        if agreement(label) != "agree"
    ]
    return f" Left out: {'; '.join(told)}." if told else ""
