"""Trainings, distances and step times as TensorBoard event files, one TensorBoard run a label.

OUT/<run>/<label>/events.out.tfevents.<start>.harness; exporting the same run again writes the same
bytes to the same place. The tags: train_loss and test_accuracy of every epoch and seed, step_loss
of every step, distance/<rung>/<tensor> at its step, rung/<rung> and limit/<rung>, step_time_ms of
every round (only of labels whose times may be shown), and the verdict as text. Values are float32,
TensorBoard's own precision. Needs tensorboardX, which asks for torch if it finds it: not here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import InputError
from harness.export.shown import LeftOut, Run, file_names, line, missing, ranked, started
from harness.files import why, write_atomic
from harness.record.schema import Number, Record, Results
from harness.verdict.outcome import trainings
from harness.verdict.timings import step_medians
from harness.workloads.reference.limits import RUNGS

# TensorBoard's steps are 64-bit integers.
LAST_STEP = 2**63 - 1


class Scalar(NamedTuple):
    """One point of a series. `value` may be a text that names what is not finite."""

    tag: str
    step: int
    value: Number


def write(runs: Sequence[Run], out: Path) -> tuple[list[str], list[LeftOut]]:
    """Writes under `out`; returns the files and what is left out of them."""
    library = _library()
    written, left_out = [], []
    folders = file_names(dict.fromkeys(run.record.run for run in runs))
    for run in runs:
        timed, not_timed = ranked(run)
        left_out += not_timed
        labels = file_names(run.verdict.labels)
        for name in run.verdict.labels:
            folder = out / folders[run.record.run] / labels[name]
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"--out {out}: {why(error)}") from None
            start = started(run.record)
            path = folder / f"events.out.tfevents.{int(start)}.harness"
            scalars = [*_scalars(run, name, with_times=name in timed)]
            write_atomic(path, _events(library, scalars, _story(run, name), start))
            written.append(str(path))
    return written, left_out


def _scalars(run: Run, name: str, *, with_times: bool) -> Iterator[Scalar]:
    """Every series of a label, each in the order of its steps."""
    label, results = run.verdict.labels[name], run.record.results.get(name)
    for rung in RUNGS:
        finding = label.findings.get(rung)
        if finding is not None and finding.value is not None:
            yield Scalar(f"rung/{rung}", 0, finding.value)
        if finding is not None and finding.limit is not None:
            yield Scalar(f"limit/{rung}", 0, finding.limit)
    if results is None:
        return
    yield from _of_training(run.record, name, results)
    for m in sorted(results.measurements, key=lambda m: m.step or 0):
        if m.step is not None and 0 <= m.step <= LAST_STEP and m.distance is not None:
            dtype = "" if m.dtype == run.record.plan.labels[name].dtype else f" {m.dtype}"
            yield Scalar(f"distance/{m.rung}{dtype}/{line(m.tensor)}", m.step, m.distance)
    if with_times:
        for (session, number), ns in sorted(step_medians(run.record, results).items()):
            yield Scalar(f"step_time_ms/session {session}", number, ns / 1e6)


def _of_training(record: Record, name: str, results: Results) -> Iterator[Scalar]:
    for training in trainings(results, record.plan.labels[name].dtype):
        series = {
            "step_loss": training.losses,
            "train_loss": training.epoch_losses,
            "test_accuracy": training.test_accuracy,
        }
        for what, values in series.items():
            # Epochs count from 1, steps from 0, as in the reports.
            first = 0 if what == "step_loss" else 1
            for step, value in enumerate(values, start=first):
                yield Scalar(f"{what}/seed {training.seed}", step, value)


def _story(run: Run, name: str) -> str:
    """The verdict in words, as TensorBoard's text (Markdown) shows it."""
    from harness.report.tables import escape

    label = run.verdict.labels[name]
    told = [
        f"run {run.record.run}: {run.verdict.verdict}",
        run.verdict.summary,
        f"{name}: {label.status}" + (f", {label.reason}" if label.reason else ""),
        *(f"{f.rung}: {f.verdict}: {f.sentence}" for f in label.findings.values()),
    ]
    return "\n\n".join(escape(line(text)) for text in told)


def _library() -> Any:
    """tensorboardX, without the torch that it would import where there is one."""
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    try:
        import tensorboardX
    except ImportError as error:
        raise missing("tensorboard", error) from None
    finally:
        if sys.modules.get("torch", ...) is None:
            del sys.modules["torch"]
    return tensorboardX


def _events(library: Any, scalars: Sequence[Scalar], story: str, start: float) -> bytes:
    """The bytes of an event file: its version, the text, and a point an event."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text

    events = [
        Event(wall_time=start, file_version="brain.Event:2"),
        Event(wall_time=start, step=0, summary=text("verdict", story)),
    ]
    for tag, step, value in scalars:
        point = Summary(value=[Summary.Value(tag=tag, simple_value=float(value))])
        events.append(Event(wall_time=start, step=step, summary=point))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        writer = library.RecordWriter(str(path))
        for event in events:
            writer.write(event.SerializeToString())
        writer.close()
        return path.read_bytes()
