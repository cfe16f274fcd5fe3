"""What runs named of the conventions planted in them, as Markdown: a row for each trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import __version__
from harness.record.facts import now
from harness.record.schema import Explained
from harness.report.tables import table
from harness.text import short

HEADER = ["planted", "framework", "workload", "rung", "batch", "named", "as", "number planted"]
HEADER += ["number found", "left", "limit"]


@dataclass
class Explanations:
    """Filled test by test, written once: cells of HEADER, conventions and what is none apart."""

    conventions: list[list[str]] = field(default_factory=list)
    others: list[list[str]] = field(default_factory=list)

    def add(self, planted: str, framework: str, what: Any, sought: Explained, limit: float) -> None:
        """what: see conventions.py; limit: the largest of correct code there."""
        named = what.id or planted
        found = sorted(sought.found, key=lambda one: one.hypothesis != named)
        numbers = found[0].numbers if found else []
        row = [
            *(planted, framework, what.net.lower(), sought.rung, sought.case),
            ", ".join(one.hypothesis for one in found) or "none",
            found[0].sentence if found else "–",
            *(", ".join(map(short, of)) or "–" for of in (what.numbers, numbers)),
            short(found[0].left) if found else "–",
            short(limit),
        ]
        known = any(one.hypothesis == named for one in found)
        (self.conventions if known else self.others).append(row)

    def write(self, path: Path) -> None:
        """As Markdown."""
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = len({row[5].partition(",")[0] for row in self.conventions})
        told = (
            f"{kinds} conventions, {len(self.conventions)} trials in which the one that was "
            f"planted is named, by the framework's own layers, options and optimisers. {now()}, "
            f"framework-harness {__version__}. Made by `nox -s faults`."
        )
        how = (
            "Each is a run of a small net up to lockstep; *left* is the largest distance from what "
            "the convention gives, *limit* the largest of correct code there. Two that are named "
            "gave the same on that batch."
        )
        none = "What is no convention, and what no convention was named for:"
        lines = ["# Planted conventions", "", told, "", how, "", *table(HEADER, self.conventions)]
        lines += ["## Named by none", "", none, "", *table(HEADER, self.others)]
        path.write_text("\n".join(lines), encoding="utf-8")
