"""Pictures of what training costs beside the step: phases, waits, first steps, epochs, memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np

from harness.record.schema import Process, Record
from harness.report import words
from harness.report.figure import Plot, style, text
from harness.report.plots import axes
from harness.report.plots.shown import Timed, fair
from harness.verdict.outcome import trainings
from harness.verdict.verdict import Verdict

# What a step consists of, with a pattern each: in this order in time.
PHASES = (
    ("gather", "gather_median_ns", "#a87b00", "/"),
    ("put", "put_median_ns", "#9a63c4", "."),
    ("step", "median_ns", "#2f7ed8", ""),
)


def costs(record: Record, verdict: Verdict, timed: Timed, left_out: str) -> list[Plot]:
    """All of these; `timed`: what may be shown, `left_out`: what is said of the other labels."""
    found = [
        phases(timed, left_out),
        throughput(record, timed, left_out),
        starts(record, verdict, left_out),
        epoch_times(record, verdict, left_out),
        memory(verdict, left_out),
    ]
    return [plot for plot in found if plot is not None]


def phases(timed: Timed, left_out: str) -> Plot | None:
    """What a step consists of, end to end."""
    if not timed:
        return None
    size, called = axes.unit(time.median_ns for time in timed.values())
    names = list(timed)
    traces: list[axes.Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": what,
            "x": [max(0, getattr(timed[name], field)) / size for name in names],
            "y": np.arange(len(names)),
            "marker": axes.filled(colour, shape),
            "hovertemplate": f"%{{x:.4g}} {called}",
        }
        for what, field, colour, shape in PHASES
    ]
    return Plot(
        name="phases",
        title=f"What one training step consists of ({called}, medians)",
        caption="Gather: picking the batch's rows; put: handing them to the framework and its "
        "device; step: forward, backward and update, waited for. The ratios above count "
        "the last only." + left_out,
        traces=traces,
        layout=axes.layout(
            axes.linear(f"time, {called}", rangemode="tozero"),
            axes.rows_axis([axes.tick(name) for name in names]),
            barmode="stack",
            bargap=0.35,
        ),
        header=("label", *(what for what, *_ in PHASES)),
        rows=[
            [axes.plain(n), *(words.duration(getattr(timed[n], field)) for _, field, *_ in PHASES)]
            for n in names
        ],
        height=axes.tall(traces, 90 + 38 * len(names)),
    )


def throughput(record: Record, timed: Timed, left_out: str) -> Plot | None:
    """A step that is waited for, beside one of many with a single wait."""
    found = {n: t for n, t in timed.items() if t.throughput_ns is not None}
    if not found:
        return None
    size, called = axes.unit(time.median_ns for time in found.values())
    places = np.arange(len(found))
    latency = [time.median_ns / size for time in found.values()]
    through = [(time.throughput_ns or 0) / size for time in found.values()]
    colours = [style(axes.place_of(record, name))["marker"]["color"] for name in found]
    traces: list[axes.Trace] = [
        {"type": "scatter", "mode": "markers", "name": what, "x": x, "y": places,
         "marker": {"color": colours, "symbol": symbol, "size": 11,
                    "line": {"width": 2, "color": colours}},
         "hovertemplate": f"{what}: %{{x:.4g}} {called}"}
        for what, x, symbol in (
            ("latency: each step waited for", latency, "circle-open"),
            ("throughput: one wait for many", through, "diamond"),
        )
    ]  # fmt: skip
    return Plot(
        name="throughput",
        title=f"Latency and throughput of a step ({called})",
        caption="Where the diamond lies left of the ring, a framework works ahead while nobody "
        "waits: training without reading the loss of every step is that much faster." + left_out,
        traces=traces,
        layout=axes.layout(
            axes.linear(f"time a step, {called}", rangemode="tozero"),
            axes.rows_axis([axes.tick(name) for name in found]),
            shapes=[
                {"type": "line", "layer": "below", "x0": a, "x1": b, "y0": row, "y1": row,
                 "line": {"color": axes.GREY, "width": 2}}
                for row, (a, b) in enumerate(zip(latency, through, strict=True))
            ],
        ),
        header=("label", "latency", "throughput", "of latency"),
        rows=[
            [
                axes.plain(name),
                words.duration(time.median_ns),
                words.duration(time.throughput_ns),
                f"{(time.throughput_ns or 0) / time.median_ns:.2f}" if time.median_ns > 0 else "–",
            ]
            for name, time in found.items()
        ],
        height=axes.tall(traces, 90 + 38 * len(found)),
    )  # fmt: skip


def starts(record: Record, verdict: Verdict, left_out: str) -> Plot | None:
    """What comes once: import, build, the first step of each batch size; every own process."""
    full = str(record.plan.workload.batch_size)
    kinds: dict[str, Callable[[Process], list[int]]] = {
        "import": lambda p: [p.import_ns] if p.import_ns is not None else [],
        "build": lambda p: [p.build_ns] if p.build_ns is not None else [],
        f"first step, batch of {full}": lambda p: [
            ns for rows, ns in p.first_step_ns.items() if rows == full
        ],
        "first step, other batches": lambda p: [
            ns for rows, ns in p.first_step_ns.items() if rows != full
        ],
    }
    processes = {
        name: [p for p in record.results[name].processes
               if p.dtype == record.plan.labels[name].dtype and p.status == "ok"]
        for name in fair(verdict)
    }  # fmt: skip
    points = {
        kind: [(row, ns / 1e9) for row, held in enumerate(processes.values())
               for p in held for ns in of(p)]
        for kind, of in kinds.items()
    }  # fmt: skip
    points = {kind: of for kind, of in points.items() if of}
    if not points:
        return None
    seconds = [np.array([s for _, s in of]) for of in points.values()]
    scale = axes.scale(*seconds)
    traces = []
    for place, (kind, of) in enumerate(points.items()):
        look = style(place)["marker"]
        offset = 0.6 * ((place + 0.5) / len(points) - 0.5)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": text(kind),
                "x": scale.place(np.array([s for _, s in of])),
                "y": np.array([row + offset for row, _ in of], dtype=np.float32),
                "marker": look | {"size": 9},
                "hovertemplate": "%{x:.3g} s",
            }
        )
    rows = [
        [
            axes.plain(name),
            str(len(held)),
            *(
                words.duration(statistics.median(values)) if values else "–"
                for of in kinds.values()
                if (values := [ns for p in held for ns in of(p)]) is not None
            ),
            words.duration(time.compile_ns) if (time := verdict.labels[name].step_time) else "–",
        ]
        for name, held in processes.items()
    ]
    return Plot(
        name="starts",
        title="What is paid once: import, build, first steps (seconds)",
        caption="On a logarithmic axis, a point a process and batch size. A first step that takes "
        "hundreds of steady ones is a compilation, and comes again with every new batch size."
        + left_out,
        traces=traces,
        layout=axes.layout(
            axes.logarithmic("seconds", *scale.shown(*seconds)),
            axes.rows_axis([axes.tick(name) for name in processes], showgrid=False),
            shapes=[
                axes.line(y=row + 0.5, line={"width": 0.5, "dash": "solid"})
                for row in range(len(processes) - 1)
            ],
        ),
        header=("label", "processes", *kinds, "compile (first less steady)"),
        rows=rows,
        height=axes.tall(traces, 90 + 62 * len(processes)),
    )


def epoch_times(record: Record, verdict: Verdict, left_out: str) -> Plot | None:
    """The wall time of every epoch of the free trainings."""
    found = [
        (name, training, place == 0)
        for name in fair(verdict)
        for place, training in enumerate(
            t for t in trainings(record.results[name], record.plan.labels[name].dtype) if t.epoch_ns
        )
    ]
    if not found:
        return None
    size, called = axes.unit(ns for _, training, _ in found for ns in training.epoch_ns)
    traces, rows = [], []
    for name, training, first in found:
        values = np.array(training.epoch_ns, dtype=np.float64) / size
        traces.append(
            axes.line_of(record, name, first=first)
            | {
                "mode": "lines+markers" if first else "lines",
                "x0": 1,
                "dx": 1,
                "y": axes.drawn(values),
                "hovertemplate": f"seed {training.seed}, epoch %{{x}}: %{{y:.4g}} {called}",
            }
        )
        rows.append(
            [
                axes.plain(name),
                str(training.seed),
                str(len(values)),
                *(words.duration(size * float(of(values))) for of in (np.min, np.median, np.max)),
            ]
        )
    several = " Thick: the first seed." if len({row[1] for row in rows}) > 1 else ""
    return Plot(
        name="epoch-time",
        title=f"Wall time of every epoch of free training ({called})",
        caption="Gathers, puts and steps together, one label after the other and not interleaved: "
        f"good for seeing the machine drift, no ground for ranking.{several}{left_out}",
        traces=traces,
        layout=axes.layout(
            axes.linear("epoch", tickformat="d"),
            axes.linear(f"wall time, {called}", rangemode="tozero"),
        ),
        header=("label", "seed", "epochs", "shortest", "median", "longest"),
        rows=rows,
        height=axes.tall(traces, 300),
    )


def memory(verdict: Verdict, left_out: str) -> Plot | None:
    """The most memory that a label's process held."""
    held = {name: p for name in fair(verdict) if (p := verdict.labels[name].process) is not None}
    kinds = (
        ("in main memory", "peak_rss_bytes", "#2f7ed8", ""),
        ("on the device", "peak_device_bytes", "#c9512e", "/"),
    )
    traces: list[axes.Trace] = []
    for what, field, colour, shape in kinds:
        values = [_bytes(p, field) for p in held.values()]
        if any(value is not None for value in values):
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": what,
                    "x": [None if v is None else v / 1e6 for v in values],
                    "y": np.arange(len(held)),
                    "marker": axes.filled(colour, shape),
                    "text": [words.megabytes(v) if v is not None else "" for v in values],
                    "textposition": "inside",
                    "textangle": 0,
                    "hovertemplate": "%{x:.0f} MB",
                }
            )
    if not traces:
        return None
    return Plot(
        name="memory",
        title="Peak memory of a process (MB, 10⁶ bytes)",
        caption="The most a process in the label's own dtype held at once, the framework itself "
        "and the data set included." + left_out,
        traces=traces,
        layout=axes.layout(
            axes.linear("MB", rangemode="tozero"),
            axes.rows_axis([axes.tick(name) for name in held]),
            barmode="group",
            bargap=0.35,
        ),
        header=("label", *(what for what, *_ in kinds)),
        rows=[
            [axes.plain(n), *(words.megabytes(_bytes(p, field)) for _, field, *_ in kinds)]
            for n, p in held.items()
        ],
        height=axes.tall(traces, 90 + 38 * len(held)),
    )


def _bytes(process: Process, field: str) -> int | None:
    """A size as a process told it, which may be any number."""
    size = getattr(process, field)
    return None if size is None else max(0, min(size, axes.LARGEST))
