"""The kept tensors of a stored record: which divergence they show, read and checked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.errors import InputError
from harness.interface import Array, State
from harness.plan.model import DTYPES, process_precision
from harness.record.schema import LONGEST_KEPT, OWN, TRAINING, Kept, Measurement, Record, Results
from harness.tensors import UNUSABLE, load_tensors
from harness.text import clean
from harness.verdict.document import Divergence
from harness.verdict.finding import in_words
from harness.verdict.numbers import evidence, limit_of, sentence_for, within
from harness.verdict.verdict import Verdict
from harness.workloads.reference.limits import DECIDING, Limit


@dataclass(frozen=True)
class Reproduced:
    """What a bundle reproduces. `instead`: why it is not the verdict's first divergence, or None.

    `first`: the number of the first loss that is compared (lockstep). `tensors`: of the state, and
    those of them that are `trained`.
    """

    label: str
    at: Measurement
    limit: Limit
    kept: Kept
    precision: str
    sentence: str
    hint: str | None
    explanation: str | None
    instead: str | None
    first: int
    tensors: tuple[str, ...]
    trained: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Which template shows it."""
        rung, tensor = self.at.rung, self.at.tensor
        if rung == "forward":
            if tensor.endswith(OWN):
                return "trace"
            if tensor.endswith(TRAINING):
                return "training"
            # As the limits tell these probes apart.
            return "centred" if self.at.case.startswith("shifted") else "forward"
        if rung == "update" and tensor not in self.trained:
            return "slot"
        special = {("loss", "step loss"): "step loss", ("lockstep", "losses"): "losses"}
        return special.get((rung, tensor), rung)

    @property
    def key(self) -> str:
        """The tensor's name in want.safetensors and got.safetensors (a loss is wanted once)."""
        named = {"forward": "outputs", "centred": "outputs", "training": f"outputs{TRAINING}"}
        if self.kind in named:
            return named[self.kind]
        before = {"gradients": "grad.", "update": "new.", "slot": "new.", "trace": "trace."}
        if self.at.rung == "inputs" and self.at.tensor in self.tensors:
            return f"held.{self.at.tensor}"
        return before.get(self.kind, "") + self.at.tensor.removesuffix(OWN)


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
    at_kept = (kept.dtype, kept.rung, kept.case)
    own = record.results.get(label, Results()).measurements
    of_kept = [m for m in own if (m.dtype, m.rung, m.case) == at_kept]
    limited = ((m, limit_of(m, precision)) for m in of_kept)
    over = next(((m, limit) for m, limit in limited if limit and not within(m, limit)), None)
    if over is None:
        raise InputError(
            f"nothing to reproduce: the tensors kept of {clean(label)} are of {kept.rung}, "
            f"{clean(kept.case)}, where nothing is over its limit; the verdict is: {sentence}"
        )
    at, limit = over
    named = (first.rung, first.case, first.dtype)
    instead = hint = explanation = None
    if named == (kept.rung, kept.case, kept.dtype):
        hint, explanation = first.hint, in_words(first.explanation)
    else:
        instead = (
            f"The verdict names {', '.join(map(clean, named))} first; the run kept the tensors of "
            f"{kept.rung}, {clean(kept.case)}, {kept.dtype}, and this reproduces those."
        )
        sentence = clean(f"{label}, {sentence_for(kept.rung, evidence(at, limit))}")
    before = [step + 1 for step in record.lockstep_steps if step < (at.step or 0)]
    workload = record.plan.workload
    tensors, trained = (
        tuple(tensor.name for tensor in of) for of in (workload.tensors, workload.trained)
    )
    first_loss = max(before, default=0)
    return Reproduced(
        *(label, at, limit, kept, precision, sentence, hint, explanation, instead),
        *(first_loss, tensors, trained),
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
    state: State = {t.name: tensors[f"given.{t.name}"] for t in workload.tensors}
    for t in workload.tensors:
        if state[t.name].shape != t.shape:
            raise ValueError(f"{t.name} has shape {state[t.name].shape}")
    rung = reproduced.at.rung
    samples = "images" if rung == "lockstep" and "images" in tensors else "x"
    batch = [samples, *([] if workload.y == "none" else ["y"])]
    batch += ["sizes"] if rung == "lockstep" else [t.name for t in workload.noise]
    given = {f"state.{name}": value for name, value in state.items()}
    given |= {name: tensors[name] for name in batch}
    want, got = (
        {n.removeprefix(side): v for n, v in tensors.items() if n.startswith(side)}
        for side in ("want.", "got.")
    )
    if rung == "inputs":
        want |= {name: given[name] for name in batch}
        want |= {f"held.{name}": value for name, value in state.items()}
    if rung == "update":
        want |= {
            f"new.{name}": state[name].astype(np.float64) - want[f"change.{name}"]
            for name in reproduced.trained
        }
    n = len(given[samples]) if given[samples].ndim else 0
    per_sample = math.prod(given[samples].shape[1:])
    if (
        n == 0
        or per_sample != math.prod(workload.x)
        or any(given[name].shape[:1] != (n,) for name in batch if name != "sizes")
    ):
        raise ValueError(f"{samples} has shape {given[samples].shape}, y {_shape(given, 'y')}")
    if rung == "lockstep" and int(np.sum(given["sizes"])) != n:
        raise ValueError(f"{n} samples in batches of {given['sizes'].tolist()}")
    if reproduced.kind == "losses":
        span = slice(reproduced.first, len(given["sizes"]))
        want["losses"], got["losses"] = losses(record, reproduced, span)
    return Tensors(given, want, got)


def _shape(given: State, name: str) -> object:
    return given[name].shape if name in given else "none"


def losses(record: Record, reproduced: Reproduced, span: slice) -> tuple[Array, Array]:
    """The reference's and the label's losses of lockstep, float64; ValueError where not stored."""
    seed, steps = record.plan.seeds[0], span.stop
    own = record.results[reproduced.label].training
    both = []
    for trainings in (record.reference, [t for t in own if t.dtype == reproduced.kept.dtype]):
        told = next((t.losses for t in trainings if t.seed == seed), [])
        if len(told) < steps:
            raise ValueError(f"the record has no {steps} losses to compare")
        both.append(np.array([float(value) for value in told[span]]))
    return both[0], both[1]
