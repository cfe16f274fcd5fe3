"""What the fault suite found, as Markdown: one row for every fault in every framework."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.record.facts import now
from harness.record.schema import Number, Record
from harness.report.tables import table
from harness.text import short
from harness.workloads.reference.limits import RUNGS

HEADER = ["fault", "what it does", "framework", "expected", "failed first", "batch", "dtype"]
HEADER += ["tensor", "value", "limit", "margin", "in float32", "in float64", "verdict"]
CAUGHT = "caught"


@dataclass(kw_only=True)
class Row:
    """One fault in one framework.

    `rung` failed first, `case`, `dtype` and `tensor` say where, `value` and `limit` how far;
    `most`: the largest value at the expected rung in units of its limit, by dtype.
    """

    fault: str
    does: str
    framework: str
    expected: str
    rung: str
    verdict: str
    case: str = "–"
    dtype: str = "–"
    tensor: str = "–"
    value: Number | None = None
    limit: Number | None = None
    problem: str | None = None
    most: dict[str, float] = field(default_factory=dict)

    @property
    def margin(self) -> float | None:
        """The value in units of its limit; None where there is no distance."""
        if not isinstance(self.value, (int, float)) or not isinstance(self.limit, (int, float)):
            return None
        return self.value / self.limit if self.limit else float("inf")

    def cells(self) -> list[str]:
        what = [self.fault, self.does, self.framework, self.expected, self.rung, self.case]
        value = self.problem or short(self.value)
        shares = [self.margin, self.most.get("float32"), self.most.get("float64")]
        what += [self.dtype, self.tensor, value, short(self.limit), *map(_times, shares)]
        return [*what, self.verdict]


@dataclass
class Report:
    """Filled test by test, written once. `clean`: largest shares of a limit, by rung."""

    rows: list[Row] = field(default_factory=list)
    clean: list[tuple[str, str, dict[str, float]]] = field(default_factory=list)
    record: Record | None = None

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(self._lines()), encoding="utf-8")

    def _lines(self) -> list[str]:
        caught = [row for row in self.rows if row.verdict == CAUGHT]
        faults = len({row.fault for row in self.rows})
        told = (
            f"{len(caught)} of {len(self.rows)} caught at the expected rung, at three times its "
            f"limit or more: {faults} faults, each in the frameworks named. {now()}, "
            f"framework-harness {__version__}."
        )
        explained = (
            "Value, limit and margin (their ratio) are those of the first measurement over its "
            "limit; beside them the largest ratio at the expected rung in each dtype. ∞: the limit "
            "is 0, or a NaN, an infinity or a shape is wrong."
        )
        lines = ["# Planted faults", "", told, "", explained, ""]
        lines += table(HEADER, [row.cells() for row in self.rows])
        twins = (
            "The same workers with nothing planted, before the first fault and after the last; "
            "those of a workload also with the judge's pieces in the trainer's place, "
            "*recomputed*: the largest value in units of its limit."
        )
        rungs = [rung for rung in RUNGS if any(rung in shares for *_, shares in self.clean)]
        lines += ["## Clean twins", "", twins, ""]
        lines += table(["when", "framework", *rungs], self._clean_rows(rungs))
        lines += ["## Environment", "", *table(["where", "what", "value"], self._facts())]
        return lines

    def _clean_rows(self, rungs: list[str]) -> list[list[str]]:
        return [
            [when, name, *(f"{shares[rung]:.3f}" if rung in shares else "–" for rung in rungs)]
            for when, name, shares in self.clean
        ]

    def _facts(self) -> list[list[str]]:
        if self.record is None:
            return []
        return [["machine", what, value] for what, value in self.record.machine.items()] + [
            [f"{name} ({process.dtype})", what, value]
            for name, results in self.record.results.items()
            for process in results.processes
            for what, value in process.facts.items()
        ]


def docstrings(file: Path) -> dict[str, str]:
    """The first line of every public function's docstring, by name; the file is not run."""
    return {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }


def _times(share: float | None) -> str:
    if share is None:
        return "–"
    return "∞" if share == float("inf") else f"{short(share)} ×"
