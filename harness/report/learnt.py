"""What trainings learnt, read off a record: which are shown, and the norms of gradients.

For the tables of a report and for its pictures (`harness/report/plots/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.record.schema import Record, Training
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.verdict.outcome import trainings

REFERENCE = "reference"


class Trained(NamedTuple):
    """A whole training: of a label, or of the reference (None); `first`: the first seed's of it."""

    name: str | None
    training: Training
    first: bool

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return self.name or REFERENCE


def references(record: Record) -> dict[int, Training]:
    """The reference's training of each seed, the longest where there are several."""
    longest: dict[int, Training] = {}
    for training in record.reference:
        other = longest.get(training.seed)
        if other is None or len(training.losses) > len(other.losses):
            longest[training.seed] = training
    return longest


def trained(record: Record) -> list[Trained]:
    """The reference's trainings, then those of the labels, each in its own dtype."""
    by_name: list[tuple[str | None, Sequence[Training]]] = [(None, [*references(record).values()])]
    for name, results in record.results.items():
        by_name.append((name, trainings(results, record.plan.labels[name].dtype)))
    return [Trained(name, t, place == 0) for name, of in by_name for place, t in enumerate(of)]


# ---- gradients -----------------------------------------------------------------------------------

NORMS = ("label", "gradient by", "before training", "after the first epoch", "after the last")


def by_layer(record: Record) -> list[str]:
    """One tensor a layer that has a gradient: its bias; all of them where hardly any has one."""
    tensors = record.plan.workload.trained
    biases = [tensor.name for tensor in tensors if len(tensor.shape) == 1]
    return biases if len(biases) > 1 else [tensor.name for tensor in tensors]


def norms(record: Record) -> list[Trained]:
    """The first training of the reference and of every label, where it has norms of gradients."""
    named = by_layer(record)
    return [
        of for of in trained(record)
        if of.first and any(of.training.gradient_norms.get(name) for name in named)
    ]  # fmt: skip


def norm_rows(of: Trained, name: str) -> list[list[str]]:
    """The norm of the gradient by one tensor: before training, after the first and last epoch."""
    values = of.training.gradient_norms.get(name, [])
    told = [f"{value:.3g}" if isinstance(value, float) else value for value in values]
    return [[of.title, name, told[0], *([told[1], told[-1]] if told[1:] else "––")]] if told else []


def gradients(run: Run) -> Section:
    """Norms of gradients by layer, of the first seed."""
    named = by_layer(run.record)
    return Section(
        "Norms of gradients by layer",
        NORMS,
        [row for of in norms(run.record) for name in named for row in norm_rows(of, name)],
        about=f"of the mean loss over the first {run.record.plan.workload.gradients_of} training "
        "samples, first seed",
    )
