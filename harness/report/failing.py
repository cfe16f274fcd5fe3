"""A training that cannot go on, and what every framework makes of the forward pass that fails."""

from __future__ import annotations

from harness.record.schema import Failure, Number, Told
from harness.report.run_tables import Run
from harness.report.sections import Section, Value
from harness.text import short
from harness.verdict.verdict import FAILED


def section(run: Run) -> Section:
    """Where it fails and why, and a row for every process; empty where none failed."""
    failure = run.record.failure
    if failure is None:
        return Section()
    layers = [*failure.silent]
    words = (
        f"The reference found it, training ahead with seed {failure.seed} (the first step is 0). "
        f"All were compared over {failure.compared} steps, and then given the batch of step "
        f"{failure.step} at the reference's own parameters. Gradients: the norm of all of them. "
        "Silent: the share of samples for which every unit of a layer's ReLU is 0."
    )
    silent = [f"{layer} silent" for layer in layers]
    header = ("label", "dtype", "loss", "largest output", "gradients", *silent, "what it does")
    rows = [_reference(failure, layers), *(_told(told, layers) for told in failure.told)]
    title = f"Why training stops: at step {failure.step} {FAILED[failure.kind]}"
    return Section(title, note=words, inside=[Section("What each makes of it", header, rows)])


def _reference(failure: Failure, layers: list[str]) -> list[Value]:
    """The reference's own row; where nothing can learn its gradients are 0, else there are none."""
    gradient = "0" if failure.kind == "dead" else None
    shares = _shares(failure.silent, layers)
    return ["reference", "float64", None, _number(failure.largest), gradient, *shares, "judges"]


def _told(told: Told, layers: list[str]) -> list[Value]:
    numbers = [_number(value) for value in (told.loss, told.largest, told.gradient)]
    loss = "a number" if isinstance(told.loss, float) else told.loss or "no loss"
    does = f"gives {loss}" if told.raised is None else f"refuses: {told.raised}"
    return [told.label, told.dtype, *numbers, *_shares(told.silent, layers), does]


def _number(value: Number | None) -> str:
    return short(value, 6)


def _shares(silent: dict[str, Number], layers: list[str]) -> list[str]:
    """In per cent, as far as each layer was shown."""
    shares = [silent.get(layer) for layer in layers]
    return [f"{of:.1%}" if isinstance(of, float) else short(of) for of in shares]
