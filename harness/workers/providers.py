"""Plug-in workloads as the harness sees them: described by, and judged through, their own process.

`harness/workers/desks/provider.py` is the other end. Nothing of a plug-in is imported here.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError, InputError
from harness.interface import Array, Params, Workload
from harness.plan import plugins
from harness.plan.model import Provided, Timeouts
from harness.tensors import UNUSABLE
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.workers.processes import Left
from harness.workers.scratch import scratch_folder
from harness.workloads import WORKLOADS
from harness.workloads.probes import Probe

INITS = ("normal", "zeros")
# What the judge's step is, and what is loaded (or its synthetic stand-in).
OPTIMISERS = ("sgd",)
DATASETS = ("fashion-mnist",)
# Far above any model that is trained here, far below what would fill a machine's memory.
MOST_ELEMENTS = 10**9
DESK = "harness.workers.desks.provider:ProviderDesk"
# What its log files are named after.
WORKLOAD = "workload"


def find(spec: str) -> tuple[Workload, Provided | None]:
    """The workload that `spec` names, and where it comes from if it is a plug-in; InputError."""
    return (WORKLOADS[spec], None) if spec in WORKLOADS else describe(spec)


def describe(spec: str) -> tuple[Workload, Provided]:
    """The workload that `spec` names (see `plugins.find_workload`), as its own process tells it.

    InputError where there is none, or it is none that can be trained.
    """
    source, origin = plugins.find_workload(spec)
    with scratch_folder(0) as folder:
        try:
            process = ProvidedReference(source, "describe", folder, folder)
            process.end()
        except HarnessError as error:
            raise InputError(f"--workload {spec}: {error}") from None
    try:
        workload = msgspec.convert(process.answer["workload"], Workload)
    except (msgspec.ValidationError, KeyError) as error:
        raise InputError(f"--workload {spec}: not a Workload: {error}") from None
    if (reason := _unusable(workload)) is not None:
        raise InputError(f"--workload {spec}: {reason}")
    return workload, Provided(
        source, origin, bool(process.answer["reference"]), bool(process.answer["probes"])
    )


def _unusable(workload: Workload) -> str | None:
    """Why a workload cannot be trained; None where it can."""
    names = [parameter.name for parameter in workload.parameters]
    shapes = [parameter.shape for parameter in workload.parameters]
    if not plugins.LABEL.fullmatch(workload.name):
        return f"its name {workload.name!r} is none (letters, digits, _ . @ + -)"
    if not names or len(set(names)) < len(names):
        return f"its parameters {', '.join(names) or '(none)'} have no names of their own"
    if any(size < 1 for shape in shapes for size in shape):
        return "a parameter has an axis of no length"
    if sum(math.prod(shape) for shape in shapes) > MOST_ELEMENTS:
        return f"more than {MOST_ELEMENTS:,} parameters"
    for parameter in workload.parameters:
        if parameter.init not in INITS:
            return f"{parameter.name} starts as {parameter.init!r}; known: {', '.join(INITS)}"
        if parameter.axes and len(parameter.axes) != len(parameter.shape):
            return f"{parameter.name} has {len(parameter.shape)} axes and {parameter.axes}"
    if min(workload.batch_size, workload.epochs) < 1:
        return "batch_size and epochs are at least 1"
    if not all(map(math.isfinite, (workload.lr, workload.sigma))):
        return "lr and sigma are finite"
    return _undecided(workload)


def _undecided(workload: Workload) -> str | None:
    """What a workload declares that nothing here would carry out; None where there is nothing."""
    axes = {axis for parameter in workload.parameters for axis in parameter.axes}
    for field, value, known in (
        ("optimiser", workload.optimiser, OPTIMISERS),
        ("dataset", workload.dataset, DATASETS),
        *(("symmetry", axis, sorted(axes)) for axis in workload.symmetries),
        *(("transposed operand", p.transposed, ("", "a", "b")) for p in workload.products),
    ):
        if value not in known:
            return (
                f"its {field} {value!r} would decide nothing; known: {', '.join(known) or 'none'}"
            )
    return None


class ProvidedReference:
    """The reference of a plug-in workload, asked through its process; see `pieces.Reference`.

    `answer`: what the process said of the workload. Every method raises HarnessError where the
    process fails or answers what is no answer.
    """

    def __init__(self, source: str, run: str, logs: Path, scratch: Path) -> None:
        self._source = source
        logs.mkdir(parents=True, exist_ok=True)
        env = environment(1, {}, "strict", "", scratch)
        self._worker = Worker(WORKLOAD, run, sys.executable, env, 1, logs, scratch, DESK)
        try:
            self.answer, _ = self._ask("start", source=source)
        except BaseException:
            self.end()
            raise

    def _ask(
        self, do: str, given: Mapping[str, Array] | None = None, **words: Any
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        try:
            if given is None:
                return self._worker.call(do, Timeouts().start_s, **words), {}
            return self._worker.exchange(do, Timeouts().command_s, given, **words)
        except (WorkerFailed, WorkerUnavailable, *UNUSABLE) as error:
            raise HarnessError(f"the workload {self._source} failed: {error}") from None

    def _tensors(self, what: str, params: Params, **batch: Array) -> dict[str, Array]:
        """What a method of the reference says at parameters and a batch."""
        return self._ask("ask", _prefixed(params) | batch, what=what)[1]

    def _shaped(self, name: str, got: Array, shape: tuple[int, ...]) -> Array:
        if got.shape != shape or got.dtype.kind != "f":
            raise HarnessError(
                f"the workload {self._source} failed: {name} is {got.dtype} {got.shape}, "
                f"floating {shape} is wanted"
            )
        return got

    def logits(self, params: Params, x: Array) -> Array:
        logits = self._tensors("logits", params, x=x)["logits"]
        return self._shaped("logits", logits, (len(x), *logits.shape[1:2]))

    def loss_and_grads(self, params: Params, x: Array, y: Array) -> tuple[float, Params]:
        tensors = self._tensors("loss_and_grads", params, x=x, y=y)
        grads = {
            name: self._shaped(
                f"the gradient of {name}", tensors.get(f"grad.{name}", np.array(0)), value.shape
            )
            for name, value in params.items()
        }
        return float(tensors["loss"]), grads

    def kink_margin(self, params: Params, x: Array) -> Array:
        return self._kinks("kink_margin", params, x)

    def kink_distance(self, params: Params, x: Array) -> Array:
        return self._kinks("kink_distance", params, x)

    def _kinks(self, method: str, params: Params, x: Array) -> Array:
        return self._shaped(method, self._tensors(method, params, x=x)[method], (len(x),))

    def probes(self, initial: Params, x: Array, y: Array, screen_margin: float) -> list[Probe]:
        """The made batches of the workload."""
        given = _prefixed(initial) | {"x": x, "y": y}
        answer, tensors = self._ask("probes", given, screen_margin=screen_margin)
        return [
            Probe(
                str(case),
                {
                    name: self._shaped(
                        f"{name} of {case}", tensors[f"{number}.params.{name}"], value.shape
                    )
                    for name, value in initial.items()
                },
                tensors[f"{number}.x"],
                tensors[f"{number}.y"],
                bool(centred),
            )
            for number, (case, centred) in enumerate(answer["probes"])
        ]

    def end(self) -> list[Left]:
        """End the process; what it had started that outlived it."""
        return self._worker.end(grace_s=0)


def _prefixed(params: Params) -> dict[str, Array]:
    """Parameters as they go beside a batch."""
    return {f"params.{name}": value for name, value in params.items()}
