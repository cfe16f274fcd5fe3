"""The kept tensors of a stored record: which divergence they show, read and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.interface import Array, Params
from harness.plan.model import DTYPES, process_precision
from harness.record.schema import LONGEST_KEPT, Kept, Measurement, Record, Results
from harness.tensors import UNUSABLE, load_tensors
from harness.text import clean
from harness.verdict.document import Divergence
from harness.verdict.numbers import evidence, sentence_for, within
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import DECIDING, Limit, limit_for


@dataclass(frozen=True)
class Reproduced:
    """What a bundle reproduces. `instead`: why it is not the verdict's first divergence, or None.

    `first`: the number of the first loss that is compared (lockstep).
    """

    label: str
    at: Measurement
    limit: Limit
    kept: Kept
    precision: str
    sentence: str
    hint: str | None
    instead: str | None
    first: int

    @property
    def kind(self) -> str:
        """Which template shows it."""
        if self.at.rung == "forward" and self.at.case.startswith("shifted"):
            return "centred"  # as the limits tell these probes apart
        special = {("loss", "step loss"): "step loss", ("lockstep", "losses"): "losses"}
        return special.get((self.at.rung, self.at.tensor), self.at.rung)

    @property
    def key(self) -> str:
        """The tensor's name in want.safetensors and got.safetensors (a loss is wanted once)."""
        before = {"gradients": "grad.", "update": "new."}.get(self.at.rung, "")
        if self.at.rung == "inputs" and self.at.tensor not in ("x", "y"):
            before = "held."
        return before + self.at.tensor


@dataclass(frozen=True, eq=False)
class Tensors:
    """The contents of given, want and got.safetensors."""

    given: dict[str, Array]
    want: dict[str, Array]
    got: dict[str, Array]


def find(record: Record, verdict: Verdict) -> Reproduced:
    """What can be reproduced of a verdict's first divergence; InputError where nothing can."""
    first = verdict.first_divergence
    if first is None:
        raise InputError(f"nothing to reproduce: {verdict.verdict}")
    label, rung = first.label, first.rung
    sentence = clean(first.sentence)
    if rung not in DECIDING:
        raise InputError(
            f"nothing to reproduce: no single batch shows the rung {rung} ({sentence})"
        )
    of_label = [kept for kept in record.kept if kept.label == label]
    if not of_label:
        raise InputError(f"no tensors were kept to reproduce it: {_why_none(first)} ({sentence})")
    kept = next((k for k in of_label if k.rung == rung), of_label[0])
    configured = record.plan.labels[label]
    if kept.dtype not in DTYPES or kept.rung not in DECIDING:
        place = clean(f"{kept.dtype}, {kept.rung}")
        raise InputError(f"tensors kept of {clean(label)}: no such dtype or rung: {place}")
    precision = process_precision(configured, kept.dtype)
    limit = limit_for(kept.rung, kept.dtype, kept.case, precision)
    at_kept = (kept.dtype, kept.rung, kept.case)
    own = record.results.get(label, Results()).measurements
    of_kept = [m for m in own if (m.dtype, m.rung, m.case) == at_kept]
    at = next((m for m in of_kept if limit and not within(m, limit)), None)
    if at is None or limit is None:
        raise InputError(
            f"nothing to reproduce: the tensors kept of {clean(label)} are of {kept.rung}, "
            f"{clean(kept.case)}, where nothing is over its limit; the verdict is: {sentence}"
        )
    named = (first.rung, first.case, first.dtype)
    instead = hint = None
    if named == (kept.rung, kept.case, kept.dtype):
        hint = first.hint
    else:
        instead = (
            f"The verdict names {', '.join(map(clean, named))} first; the run kept the tensors of "
            f"{kept.rung}, {clean(kept.case)}, {kept.dtype}, and this reproduces those."
        )
        sentence = clean(f"{label}, {sentence_for(kept.rung, evidence(at, limit))}")
    before = [step + 1 for step in record.lockstep_steps if step < (at.step or 0)]
    return Reproduced(
        label, at, limit, kept, precision, sentence, hint, instead, first=max(before, default=0)
    )


def _why_none(first: Divergence) -> str:
    """Why a run kept nothing of a divergence."""
    if first.rung == "lockstep":
        return f"lockstep first differs beyond the {LONGEST_KEPT} steps that are kept"
    if first.case == "precision":
        return "of the product that must not round, a run keeps the distance only"
    if first.case.startswith("evaluation"):
        return "of an evaluation of the whole test set, a run keeps the distance only"
    return "the run found nothing over the limits it had"


def read_tensors(record: Record, run_folder: Path, reproduced: Reproduced) -> Tensors:
    """The kept tensors, sorted into given, want and got; InputError where they cannot be used."""
    file = _inside(run_folder, reproduced.kept.file)
    name = f"tensors {clean(str(file))}"
    try:
        tensors = load_tensors(str(file))
    except UNUSABLE as error:
        raise InputError(f"{name}: cannot be read ({error})") from None
    try:
        return _sorted(record, reproduced, tensors)
    except KeyError as error:
        raise InputError(f"{name}: {error} is not among them") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from None


def _inside(run_folder: Path, name: str) -> Path:
    """A file of the run's folder by the name its record gives; InputError for any other."""
    root = os.path.realpath(run_folder)
    harmless = bool(name) and "\0" not in name and ".." not in name.split("/")
    file = os.path.realpath(os.path.join(root, name)) if harmless else ""
    if not file.startswith(os.path.join(root, "")) and file != root:
        raise InputError(f"tensors {clean(name)!r}: not a file of the run's own folder")
    if not os.path.isfile(file):
        raise InputError(f"tensors {clean(file)}: there is no such file")
    return Path(file)


def _sorted(record: Record, reproduced: Reproduced, tensors: dict[str, Array]) -> Tensors:
    """given, want and got from the kept file's names ("given.W1", "x", "want.loss", ...)."""
    workload = record.plan.workload
    params: Params = {p.name: tensors[f"given.{p.name}"] for p in workload.parameters}
    for p in workload.parameters:
        if params[p.name].shape != p.shape:
            raise ValueError(f"{p.name} has shape {params[p.name].shape}")
    rung = reproduced.at.rung
    batch = ("images", "y", "sizes") if rung == "lockstep" else ("x", "y")
    given = {f"param.{name}": value for name, value in params.items()}
    given |= {name: tensors[name] for name in batch}
    want, got = (
        {n.removeprefix(side): v for n, v in tensors.items() if n.startswith(side)}
        for side in ("want.", "got.")
    )
    if rung == "inputs":
        want |= {name: given[name] for name in batch}
        want |= {f"held.{name}": value for name, value in params.items()}
    if rung == "update":
        want |= {
            f"new.{name}": value.astype(np.float64) - workload.lr * want[f"grad.{name}"]
            for name, value in params.items()
        }
    inputs, labels = given[batch[0]], given["y"]
    if inputs.ndim != 2 or labels.shape != (len(inputs),):
        raise ValueError(f"{batch[0]} has shape {inputs.shape}, y {labels.shape}")
    if rung == "lockstep" and int(np.sum(given["sizes"])) != len(labels):
        raise ValueError(f"{len(labels)} images in batches of {given['sizes'].tolist()}")
    if reproduced.kind == "losses":
        want["losses"], got["losses"] = _losses(record, reproduced, len(given["sizes"]))
    return Tensors(given, want, got)


def _losses(record: Record, reproduced: Reproduced, steps: int) -> tuple[Array, Array]:
    """The reference's and the label's losses of lockstep, float64; ValueError where not stored."""
    seed, window = record.plan.seeds[0], slice(reproduced.first, steps)
    own = record.results[reproduced.label].training
    both = []
    for trainings in (record.reference, [t for t in own if t.dtype == reproduced.kept.dtype]):
        losses = next((t.losses for t in trainings if t.seed == seed), [])
        if len(losses) < steps:
            raise ValueError(f"the record has no {steps} losses to compare")
        both.append(np.array([float(value) for value in losses[window]]))
    return both[0], both[1]
