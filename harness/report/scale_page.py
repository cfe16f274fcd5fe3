"""The page of a run of the grid: curves, and every figure of it. Takes a stored record only."""

from __future__ import annotations

from harness.report import page, scale
from harness.report.page import Table
from harness.report.plots.scaling import scaling
from harness.run.scale import ScaleRecord
from harness.run.scale_figures import BAR_WIDTH, Figure


def render(record: ScaleRecord, found: list[Figure]) -> str:
    """The page; found: what `harness.checks.scale.figures` makes of the record."""
    plots = scaling(record, found)
    labels = [name for name in record.plan.plan.labels if name not in record.plan.plan.skipped]
    cells = [
        Table(
            f"Threads: {threads}. Each cell: {scale.HEADER}",
            ["width", "batch", "GFLOP", "floor", *labels],
            scale.time_rows(record, found, threads),
        )
        for threads in record.plan.threads
    ]
    facts = [[f"machine, {name}", value] for name, value in record.machine.items()]
    for session in record.sessions[:1]:
        facts += [[f"{p.label}, {k}", v] for p in session.processes for k, v in p.facts.items()]
    sections = [
        ("curves", "How time grows", [scale.ABOUT_FITS], plots, [_fits(found)]),
        ("cells", "Every cell", scale.reasons(record, found), [], cells),
        ("bars", f"Bars above width {BAR_WIDTH}", [], [], [_bars(record, found)]),
        ("pays", "When a compile pays", [scale.ABOUT_PAYS], [], [_pays(record, found)]),
        (
            "figures",
            "Every figure",
            [],
            [],
            [Table("Every figure", scale.DETAIL_HEADER, scale.detail_rows(found))],
        ),
        (
            "environment",
            "Environment",
            [],
            [],
            [Table("Machine and processes", ["what", "value"], facts, figures=False)],
        ),
    ]
    return page.render(
        "scale.html.j2",
        title=f"Time per step as the work grows, {record.run}",
        plots=plots,
        sentence=scale.headline(record),
        warnings=scale.warned(record),
        sections=[s for s in sections if s[3] or any(t.rows for t in s[4])],
    )


def _fits(found: list[Figure]) -> Table:
    return Table("Time grows as work to the power of", scale.FIT_HEADER, scale.fit_rows(found))


def _bars(record: ScaleRecord, found: list[Figure]) -> Table:
    return Table("Step over GEMM floor", scale.BAR_HEADER, scale.bar_rows(record, found))


def _pays(record: ScaleRecord, found: list[Figure]) -> Table:
    return Table("When a compile pays", scale.PAYS_HEADER, scale.pays_rows(record, found))
