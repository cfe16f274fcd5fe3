"""Step times as pyperf JSON, for `pyperf show`, `compare_to`, `hist`, `stats` and `metadata`.

One benchmark a label, named workload/step/label; one pyperf run a session, since both are a fresh
process; values are seconds a step of every steady sample, in the order they were taken. The warm-up
rounds, and every round's first steps, are its warm-ups. Format: https://pyperf.readthedocs.io
(version 1.0 of its JSON); pyperf itself is not needed to write it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from harness.errors import InputError
from harness.export.shown import LeftOut, Run, configuration, distinct, line, some_ranked
from harness.record.facts import versions
from harness.record.schema import Record, Results, Round


def render(runs: Sequence[Run]) -> tuple[str, list[LeftOut]]:
    """The JSON text of one run, and the labels that are left out; InputError if all are."""
    (run,) = runs
    timed, left_out = some_ranked(run)
    names = distinct(timed)
    benchmarks = []
    for name in timed:
        sessions = _sessions(run.record, name, run.record.results[name])
        if not sessions:
            # pyperf takes times above zero only.
            left_out.append(LeftOut(run.record.run, f"the times of {name}", "one is not above 0"))
            continue
        workload = line(run.record.plan.workload.name)
        metadata = _of_label(run, name) | {"name": f"{workload}/step/{names[name]}"}
        benchmarks.append({"metadata": _known(metadata), "runs": sessions})
    if not benchmarks:
        raise InputError(line(f"run {run.record.run}: no label has times that are all above 0"))
    document = {"version": "1.0", "metadata": _known(_of_run(run)), "benchmarks": benchmarks}
    return json.dumps(document, sort_keys=True, allow_nan=False) + "\n", left_out


def _sessions(record: Record, name: str, results: Results) -> list[dict[str, Any]]:
    """A pyperf run a session; [] where a time is not above zero."""
    by_session: dict[int, list[Round]] = defaultdict(list)
    for r in results.rounds:
        by_session[r.session].append(r)
    runs = []
    for session, rounds in sorted(by_session.items()):
        values: list[int] = []
        warmups: list[int] = []
        for r in sorted(rounds, key=lambda r: r.round):
            warmups += r.warmup_ns
            is_steady = r.round >= record.plan.timing.warmup_rounds
            (values if is_steady else warmups).extend(r.step_ns)
        if any(ns <= 0 for ns in (*values, *warmups)):
            return []
        if values:
            runs.append(
                {
                    "metadata": _known(_of_session(record, name, results, session)),
                    "values": [ns / 1e9 for ns in values],
                    "warmups": [[1, ns / 1e9] for ns in warmups],
                }
            )
    return runs


def _of_run(run: Run) -> dict[str, Any]:
    record = run.record
    processors = record.machine.get("processors", "")
    return {
        "unit": "second",
        "cpu_model_name": record.machine.get("processor", ""),
        "cpu_count": int(processors) if processors.isdecimal() and len(processors) < 9 else None,
        "platform": f"{record.machine.get('system', '')} {record.machine.get('architecture', '')}",
        "harness_version": record.harness_version,
        "harness_run": record.run,
        "harness_verdict": run.verdict.verdict,
        "dataset": record.dataset.name if record.dataset else "",
        "profile": record.plan.profile,
    }


def _of_label(run: Run, name: str) -> dict[str, Any]:
    """What all runs of a benchmark share, as pyperf demands of versions."""
    process = run.verdict.labels[name].process
    facts = process.facts if process is not None else {}
    libraries = {f"{key}_version": value for key, value in versions(facts).items()}
    return libraries | {
        "python_version": facts.get("python", ""),
        "agreement": "agree",
        **configuration(run, name),
        "batch_size": run.record.plan.workload.batch_size,
        "threads": run.record.plan.threads,
        # A value is a step; one call may make several.
        "loops": 1,
        "inner_loops": max(1, run.record.results[name].rounds[0].at_once),
    }


def _of_session(record: Record, name: str, results: Results, session: int) -> dict[str, Any]:
    dtype = record.plan.labels[name].dtype
    peaks = [
        p.peak_rss_bytes for p in results.processes if (p.session, p.dtype) == (session, dtype)
    ]
    return {"session": session, "mem_max_rss": peaks[0] or None if peaks else None}


def _known(metadata: dict[str, Any]) -> dict[str, Any]:
    """What pyperf takes: names and texts of one line, none empty, nothing that is not known."""
    lines = {
        line(key): line(value) if isinstance(value, str) else value
        for key, value in metadata.items()
    }
    return {key: value for key, value in lines.items() if value not in ("", None)}
