"""The page of a run of the grid: curves, and every figure of it. Takes a stored record only."""

from __future__ import annotations

from harness.report import page, scale
from harness.report.plots.scaling import scaling
from harness.report.sections import Report, Section
from harness.run.scale import ScaleRecord
from harness.run.scale_figures import BAR_WIDTH, Figure


def render(record: ScaleRecord, found: list[Figure]) -> str:
    """The page; found: what `harness.checks.scale.figures` makes of the record."""
    plots = scaling(record, found)
    labels = [name for name in record.plan.plan.labels if name not in record.plan.plan.skipped]
    cells = [
        Section(
            f"Threads: {threads}. Each cell: {scale.HEADER}",
            header=["width", "batch", "GFLOP", "floor", *labels],
            rows=scale.time_rows(record, found, threads),
        )
        for threads in record.plan.threads
    ]
    facts = [[f"machine, {name}", value] for name, value in record.machine.items()]
    for session in record.sessions[:1]:
        facts += [[f"{p.label}, {k}", v] for p in session.processes for k, v in p.facts.items()]
    sections = [
        Section(
            "How time grows",
            id="curves",
            note=scale.ABOUT_FITS,
            pictures=plots,
            inside=[_fits(found)],
        ),
        Section("Every cell", id="cells", lines=scale.reasons(record, found), inside=cells),
        Section(f"Bars above width {BAR_WIDTH}", id="bars", inside=[_bars(record, found)]),
        Section(
            "When a compile pays", id="pays", note=scale.ABOUT_PAYS, inside=[_pays(record, found)]
        ),
        Section(
            "Every figure", id="figures", header=scale.DETAIL_HEADER, rows=scale.detail_rows(found)
        ),
        Section(
            "Environment", id="environment", header=("what", "value"), rows=facts, figures=False
        ),
    ]
    return page.render(
        Report(
            word="Time per step as the work grows",
            sentence=scale.headline(record),
            warnings=scale.warned(record),
            sections=[
                s for s in sections if s.pictures or s.rows or any(each.rows for each in s.inside)
            ],
            title=f"Time per step as the work grows, {record.run}",
        )
    )


def _fits(found: list[Figure]) -> Section:
    return Section(
        "Time grows as work to the power of",
        header=scale.FIT_HEADER,
        rows=scale.fit_rows(found),
    )


def _bars(record: ScaleRecord, found: list[Figure]) -> Section:
    return Section(
        "Step over GEMM floor", header=scale.BAR_HEADER, rows=scale.bar_rows(record, found)
    )


def _pays(record: ScaleRecord, found: list[Figure]) -> Section:
    return Section(
        "When a compile pays", header=scale.PAYS_HEADER, rows=scale.pays_rows(record, found)
    )
