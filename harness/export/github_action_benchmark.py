"""Step times as the custom JSON of github-action-benchmark: `tool: customSmallerIsBetter`.

For each label the step time in milliseconds, and, where there is a GEMM floor, its multiple of it,
which does not move when the runner does. Format: https://github.com/benchmark-action.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from harness.export.figures import times
from harness.export.shown import LeftOut, Run, distinct, line, some_ranked
from harness.verdict.timings import StepTime

# What is shown of a label, and its unit there: the name, unit, and size of a figure.
SHOWN = {
    "step time": ("step", "ms", 1e6),
    "floor multiple": ("multiple of the GEMM floor", "×", 1.0),
}


def render(runs: Sequence[Run]) -> tuple[str, list[LeftOut]]:
    """The JSON text of one run, and the labels that are left out; InputError if all are."""
    (run,) = runs
    timed, left_out = some_ranked(run)
    names = distinct(timed)
    workload = line(run.record.plan.workload.name)
    entries: list[dict[str, Any]] = []
    for label, time in timed.items():
        for figure in times(run, label):
            if figure.what in SHOWN:
                what, unit, size = SHOWN[figure.what]
                entry: dict[str, Any] = {"name": f"{workload}/{what}/{names[label]}", "unit": unit}
                entry["value"] = float(figure.value or 0) / size
                if figure.low is not None and figure.high is not None:
                    low, high = float(figure.low) / size, float(figure.high) / size
                    entry["range"] = f"{low:.4g}–{high:.4g}"
                entries.append(entry | {"extra": _extra(run, label, time)})
    return json.dumps(entries, indent=1, allow_nan=False) + "\n", left_out


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
