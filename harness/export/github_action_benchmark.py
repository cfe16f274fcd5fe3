"""Step times as the custom JSON of github-action-benchmark: `tool: customSmallerIsBetter`.

For each label the step time in milliseconds, and, where there is a GEMM floor, its multiple of it,
which does not move when the runner does. Format: https://github.com/benchmark-action.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.export.shown import LeftOut, Run, distinct, line, some_ranked
from harness.verdict.timings import StepTime


def render(runs: Sequence[Run]) -> tuple[str, list[LeftOut]]:
    """The JSON text of one run, and the labels that are left out; InputError if all are."""
    (run,) = runs
    timed, left_out = some_ranked(run)
    names = distinct(timed)
    workload = line(run.record.plan.workload.name)
    entries = [
        {"name": f"{workload}/{what}/{names[name]}", **figures, "extra": _extra(run, name, time)}
        for name, time in timed.items()
        for what, figures in _figures(time).items()
    ]
    return json.dumps(entries, indent=1, allow_nan=False) + "\n", left_out


def _figures(time: StepTime) -> dict[str, dict[str, Any]]:
    low, high = time.ci95_ns
    entries: dict[str, dict[str, Any]] = {
        "step": {
            "unit": "ms",
            "value": time.median_ns / 1e6,
            "range": f"{low / 1e6:.4g}–{high / 1e6:.4g}",
        }
    }
    if time.floor_ratio is not None:
        multiple = {"unit": "×", "value": time.floor_ratio}
        if time.floor_ci95 is not None:
            multiple["range"] = "{:.4g}–{:.4g}".format(*time.floor_ci95)
        entries["multiple of the GEMM floor"] = multiple
    return entries


def _extra(run: Run, name: str, time: StepTime) -> str:
    """What a chart shows beside a point."""
    label = run.record.plan.labels[name]
    facts = [
        f"run {run.record.run}: {run.verdict.verdict}, and {name} agrees",
        f"{label.device} {label.dtype} {label.variant}, threads: {run.record.plan.threads}",
        f"steps: {time.steps}, sessions: {time.sessions}"
        + (", indicative: the interval is that of the rounds" if time.indicative else ""),
        run.record.machine.get("processor", ""),
    ]
    return "\n".join(line(text) for text in facts if text)
