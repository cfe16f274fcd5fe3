"""What trainings learnt, read off a record: the numbers of a model that has few, gradients' norms.

For the tables of a report and for its pictures (`harness/report/plots/`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from harness.interface import Array, Workload
from harness.plan.model import Plan
from harness.record.schema import Record, Training
from harness.report.run_tables import Run
from harness.report.sections import Section
from harness.text import short
from harness.verdict.outcome import trainings
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.pieces import Variable

REFERENCE = "reference"
# In so many parts a table shows a way.
PARTS = 10
# Above this many classes a matrix has no room for its counts, and tells nothing at a glance.
MOST_CLASSES = 20


class Trained(NamedTuple):
    """A whole training: of a label, or of the reference (None); `first`: the first seed's of it."""

    name: str | None
    training: Training
    first: bool

    @property
    def title(self) -> str:
        """What it is called in a table."""
        return self.name or REFERENCE


class Way(NamedTuple):
    """What a tiny model learnt along a training.

    names: of its numbers; steps: float64 (states,), after how many; values: float64, (states,
    names).
    """

    names: list[str]
    steps: Array
    values: Array


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


# ---- a model of a few numbers --------------------------------------------------------------------


def way(workload: Workload, training: Training) -> Way | None:
    """The way of every number that is learnt; None where none was kept, or it is not whole."""
    steps, found = training.path_steps, training.path
    if not workload.tiny or not steps:
        return None
    columns = []
    for tensor in workload.learnt:
        rows, size = found.get(tensor.name, []), math.prod(tensor.shape)
        if len(rows) != len(steps) or any(len(row) != size for row in rows):
            return None
        columns.append(np.array(rows, dtype=np.float64).reshape(len(steps), size))
    return Way(_names(workload), np.array(steps, dtype=np.float64), np.concatenate(columns, axis=1))


def _names(workload: Workload) -> list[str]:
    """Every number that is learnt: "w" where a tensor has one, else "x[0]", "x[1]"."""
    return [
        tensor.name if math.prod(tensor.shape) == 1 else f"{tensor.name}{[*place]}"
        for tensor in workload.learnt
        for place in np.ndindex(tensor.shape)
    ]


def ways(record: Record, *, first: bool = False) -> list[tuple[Trained, Way]]:
    """Every training with its way, where a model has few numbers; `first`: of the first seed."""
    found = [(of, way(record.plan.workload, of.training)) for of in trained(record)]
    return [(of, own) for of, own in found if own is not None and (of.first or not first)]


NUMBERS = ("label", "seed", "number", "at the start", "at the end", "the reference's", "apart by")


def apart(record: Record, of: Trained, column: int) -> tuple[float, float] | None:
    """Where one number ends in the reference's training of the same seed, and how far from there.

    None of the reference's own training, and where one of the two ways was not kept.
    """
    judge, own = references(record).get(of.training.seed), way(record.plan.workload, of.training)
    other = None if judge is None else way(record.plan.workload, judge)
    if of.name is None or own is None or other is None:
        return None
    wanted = float(other.values[-1, column])
    with np.errstate(all="ignore"):
        return wanted, float(abs(own.values[-1, column] - wanted))


def number_rows(record: Record, of: Trained, column: int) -> list[list[str]]:
    """One number of a training in a row, beside the reference's; none of the reference's own."""
    own = way(record.plan.workload, of.training)
    if own is None or of.name is None:
        return []
    start, end = own.values[[0, -1], column]
    row = [of.name, str(of.training.seed), own.names[column], _exact(start), _exact(end)]
    found = apart(record, of, column)
    return [row + (["–", "–"] if found is None else [_exact(found[0]), short(found[1])])]


def numbers(run: Run) -> Section:
    """What a tiny model learnt: a row a number, of every label and seed."""
    record = run.record
    rows = [
        row
        for of, own in ways(record)
        for column in range(len(own.names))
        for row in number_rows(record, of, column)
    ]
    return Section("What was learnt", NUMBERS, rows)


def _exact(value: float) -> str:
    return short(value, 7)


# ---- a function of two variables -----------------------------------------------------------------


def function(plan: Plan) -> Composed | None:
    """What a net makes of two numbers, where it is given nothing and learns no more than these."""
    net = plan.net
    learnt = [tensor.shape for tensor in plan.workload.learnt]
    if net is None or net.x or not isinstance(net.layers[0], Variable) or learnt != [(2,)]:
        return None
    try:
        shapes = [made for _, _, made in net.shapes()]
    except ValueError:  # a record from elsewhere may hold any layers
        return None
    slots = [slot for layer in net.layers for slot in layer.slots("", "")]
    if len(slots) != 1 or (shapes[0], shapes[-1]) != ((2,), (1,)):
        return None
    return Composed(msgspec.structs.replace(net, x=(2,), layers=net.layers[1:]))


def values_at(of: Composed, points: Array) -> Array:
    """What a function makes of points float64 (n, 2): (n,)."""
    with np.errstate(all="ignore"):
        return of.outputs({}, {"x": points})[:, 0]


def along(of: Trained, own: Way, minimised: Composed) -> list[list[str]]:
    """Where a training was and the value there, at some steps."""
    last = len(own.steps) - 1
    stride = max(1, -(-last // PARTS))
    rows = [*range(0, last, stride), last]
    values = values_at(minimised, own.values[rows])
    return [
        [of.title, f"{own.steps[k]:.0f}", *map(_exact, own.values[k]), short(value, 6)]
        for k, value in zip(rows, values, strict=True)
    ]


def descents(run: Run) -> Section:
    """Where on the function every label was, step by step; empty where no function is minimised."""
    record, minimised = run.record, function(run.record.plan)
    found = ways(record, first=True) if minimised is not None else []
    rows = [row for of, own in found if minimised is not None for row in along(of, own, minimised)]
    names = found[0][1].names if found else []
    return Section("The way of every label", ("label", "after steps", *names, "value"), rows)


# ---- classes -------------------------------------------------------------------------------------


def square(matrix: list[list[int]]) -> Array | None:
    """A confusion matrix as int64 (classes, classes); None for anything else, or a large one."""
    size = len(matrix)
    if not 2 <= size <= MOST_CLASSES or any(len(row) != size for row in matrix):
        return None
    return np.array(matrix, dtype=np.int64)


def right(training: Training) -> list[str]:
    """Of each class the share of its test samples that is told right; – where it has none."""
    counts = square(training.confusion)
    if counts is None:
        return []
    return [
        f"{100 * own / of:.1f} %" if of else "–"
        for own, of in zip(counts.diagonal().tolist(), counts.sum(axis=1).tolist(), strict=True)
    ]


def classes(run: Run) -> Section:
    """Test accuracy by class, of the first seed: a row a class, a column a training."""
    shown = [of for of in trained(run.record) if of.first and of.training.confusion]
    columns = [right(of.training) for of in shown]
    dataset = run.record.dataset
    named = dataset.class_names if dataset is not None else []
    most = max(map(len, columns), default=0)
    rows = [
        [
            named[place] if place < len(named) else f"class {place}",
            *(column[place] if place < len(column) else "–" for column in columns),
        ]
        for place in range(most)
    ]
    header = ("class", *(of.title for of in shown))
    return Section("Test accuracy by class", header, rows, about="after the last epoch, first seed")


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
    told = [short(value) for value in values]
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
