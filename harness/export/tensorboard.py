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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import InputError
from harness.export.figures import Point, Series, numbers, points, times
from harness.export.shown import LeftOut, Run, file_names, line, missing, ranked, started
from harness.files import why, write_atomic

# TensorBoard's steps are 64-bit integers.
LAST_STEP = 2**63 - 1


# The series that are drawn.
SERIES = (
    Series("rung", "rung/{rung}"),
    Series("rung", "limit/{rung}", value="limit"),
    Series("step loss", "step_loss/seed {seed}", "step"),
    Series("training loss", "train_loss/seed {seed}", "epoch"),
    Series("test accuracy", "test_accuracy/seed {seed}", "epoch"),
    Series("distance", "distance/{rung}{dtype}/{tensor}", "step"),
    Series("round's step time", "step_time_ms/session {session}", "step", size=1e6),
)


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
            figures = [*numbers(run, name), *(times(run, name) if name in timed else ())]
            scalars = points(figures, SERIES, run.record.plan.labels[name].dtype)
            scalars = [scalar for scalar in scalars if 0 <= scalar.step <= LAST_STEP]
            write_atomic(path, _events(library, scalars, _story(run, name), start))
            written.append(str(path))
    return written, left_out


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


def _events(library: Any, scalars: Sequence[Point], story: str, start: float) -> bytes:
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
