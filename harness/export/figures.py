"""Every figure of a label, in one walk that all formats share: they differ in what they take of it.

Which figures there are, what they are called and in which unit stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from harness.export.shown import Run, line
from harness.record.schema import Number
from harness.verdict.finding import Finding
from harness.verdict.numbers import with_limits
from harness.verdict.outcome import trainings
from harness.verdict.timings import session_medians, steady, step_medians
from harness.workloads.reference.limits import DECIDING, LIMITS, MEASURED, RUNGS

# Figures of a label's step time but for its median: what, the field of StepTime, unit.
OF_STEP_TIME = (
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
# A value a step or a round: for formats that draw series.
SINGLE = ("step loss", "round's step time")


class Figure(NamedTuple):
    """One figure of a label, and where it belongs.

    `step`: of distances the place in the schedule, of a step's loss from 0, of a round's time its
    number; `epoch`: from 1; `session`: from 0. `value`, `low`, `high`, `limit`: finite, or a text
    that names what is not. `dtype`: "" for that of the label. `compared`: False of a training that
    was cut short or is in another dtype, which stands in no comparison.
    """

    what: str
    unit: str
    rung: str = ""
    case: str = ""
    tensor: str = ""
    step: int | None = None
    seed: int | None = None
    epoch: int | None = None
    session: int | None = None
    value: Number | None = None
    low: Number | None = None
    high: Number | None = None
    limit: Number | None = None
    verdict: str = ""
    dtype: str = ""
    compared: bool = True


def numbers(run: Run, name: str) -> Iterator[Figure]:
    """Rungs, distances and trainings."""
    label, results = run.verdict.labels[name], run.record.results.get(name)
    yield from (_rung(label.findings[rung]) for rung in RUNGS if rung in label.findings)
    if results is None:
        return
    for rung in MEASURED:
        # Trajectory has no limit of its own for a tensor: it is judged against its envelope.
        for m, row in with_limits(rung, name, run.record, LIMITS):
            limit = row.value if row is not None and rung in DECIDING else None
            yield Figure("distance", "distance", rung, m.case, m.tensor, m.step, dtype=m.dtype,
                         value=m.distance, limit=limit)  # fmt: skip
    compared = trainings(results, run.record.plan.labels[name].dtype)
    for training in results.training:
        of = Figure("", "nats", seed=training.seed, dtype=training.dtype)
        of = of._replace(compared=any(training is each for each in compared))
        for step, loss in enumerate(training.losses):
            yield of._replace(what="step loss", step=step, value=loss)
        for epoch, loss in enumerate(training.epoch_losses, start=1):
            yield of._replace(what="training loss", epoch=epoch, value=loss)
        for epoch, right in enumerate(training.test_accuracy, start=1):
            yield of._replace(what="test accuracy", unit="share", epoch=epoch, value=right)


def _rung(finding: Finding) -> Figure:
    unit = {"timing": "ratio", "accuracy": ""}.get(finding.rung, "distance")
    if finding.rung == "accuracy" and finding.evidence is not None:
        metric = finding.evidence.tensor
        unit = {"test accuracy": "share", "training loss": "nats"}.get(metric, "")
    return Figure("rung", unit, finding.rung, value=finding.value, limit=finding.limit,
                  verdict=finding.verdict)  # fmt: skip


def times(run: Run, name: str) -> Iterator[Figure]:
    """Memory and times, whether or not the label's numbers agree."""
    label, results = run.verdict.labels[name], run.record.results.get(name)
    time, process = label.step_time, label.process
    if results is None:
        return
    if process is not None and process.peak_rss_bytes is not None:
        yield Figure("peak memory", "bytes", value=process.peak_rss_bytes)
    if time is None:
        return
    low, high = time.ci95_ns
    yield Figure("step time", "ns", value=time.median_ns, low=low, high=high)
    sessions = sorted({r.session for r in steady(run.record, results) if r.step_ns})
    medians = session_medians(run.record, results)
    for session, median_ns in zip(sessions, medians, strict=True):
        yield Figure("session's step time", "ns", session=session, value=median_ns)
    for (session, number), ns in sorted(step_medians(run.record, results).items()):
        yield Figure("round's step time", "ns", session=session, step=number, value=ns)
    for what, field, unit in OF_STEP_TIME:
        value = getattr(time, field)
        low_high = (time.floor_ci95 if field == "floor_ratio" else None) or (None, None)
        if value is not None:
            yield Figure(what, unit, value=value, low=low_high[0], high=low_high[1])


class Series(NamedTuple):
    """A series of a format: the figures it takes, and what it calls them.

    `key`: its name, with fields of a figure in braces (`dtype`: " float64", say, where that is not
    the label's). `step`: the field that counts as a point's step, "" for 0; `value`: the field that
    is its value, divided by `size`.
    """

    what: str
    key: str
    step: str = ""
    value: str = "value"
    size: float = 1.0


class Point(NamedTuple):
    """A point of a series."""

    key: str
    step: int
    value: float


def points(figures: Iterable[Figure], series: Sequence[Series], dtype: str) -> list[Point]:
    """Every point of a format's series, in the order of steps; dtype: the label's."""
    found = []
    for figure in figures:
        other = f" {figure.dtype}" if figure.dtype not in ("", dtype) else ""
        words = figure._asdict() | {"dtype": other, "tensor": line(figure.tensor)}
        for one in series:
            value, step = words[one.value], words[one.step] if one.step else 0
            if one.what == figure.what and figure.compared and None not in (value, step):
                found.append(Point(one.key.format_map(words), step, float(value) / one.size))
    return sorted(found, key=lambda point: point.step)
