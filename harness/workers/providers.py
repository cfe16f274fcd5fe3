"""Plug-in workloads as the harness sees them: described by, and judged through, their own process.

`harness/workers/desks/provider.py` is the other end. Nothing of a plug-in is imported here.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harness.errors import HarnessError, InputError
from harness.interface import Array, State, Workload
from harness.plan import plugins
from harness.plan.model import Provided, Timeouts
from harness.tensors import UNUSABLE
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.workers.processes import Left
from harness.workers.scratch import scratch_folder
from harness.workloads import DEFAULT, NETS, SIZED, WORKLOADS
from harness.workloads.corners import Probe
from harness.workloads.declare import problem
from harness.workloads.reference import optimisers
from harness.workloads.reference.composed import Look, Net

# Far above any model that is trained here, far below what would fill a machine's memory.
MOST_ELEMENTS = 10**9
DESK = "harness.workers.desks.provider:ProviderDesk"
# What its log files are named after.
WORKLOAD = "workload"


def find(
    spec: str | None = None, size: int | None = None
) -> tuple[Workload, Net | None, Provided | None]:
    """The workload that `spec` names, its net, and where it comes from if it is a plug-in.

    size: hidden units of its layer, where it has one whose width can be chosen; else InputError.
    """
    spec = DEFAULT if spec is None else spec
    if size is None:
        return (WORKLOADS[spec], NETS[spec], None) if spec in WORKLOADS else describe(spec)
    if spec not in SIZED:
        raise InputError(f"--size: {spec} has no width to choose; {', '.join(SIZED)} have")
    own = WORKLOADS[spec].batch_size
    assert own is not None
    sized = SIZED[spec](size, own)
    return sized.workload, sized.net, None


def describe(spec: str) -> tuple[Workload, Net | None, Provided]:
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
        net = msgspec.convert(process.answer["net"], Net | None)
    except (msgspec.ValidationError, KeyError) as error:
        raise InputError(f"--workload {spec}: not a Workload: {error}") from None
    if (reason := _unusable(workload)) is not None:
        raise InputError(f"--workload {spec}: {reason}")
    has = (net is not None or bool(process.answer[what]) for what in ("reference", "probes"))
    return _placed(workload, source), net, Provided(source, origin, *has)


def _placed(workload: Workload, source: str) -> Workload:
    """The workload with its data's file, where it names one, found from its own file's folder."""
    file = Path(source.rpartition(":")[0])
    data = file.parent / workload.data
    if file.suffix != ".py" or not os.path.exists(data):
        return workload
    return msgspec.structs.replace(workload, data=str(data.absolute()))


def _unusable(workload: Workload) -> str | None:
    """Why a workload cannot be trained; None where it can."""
    names = [tensor.name for tensor in workload.tensors]
    shapes = [tensor.shape for tensor in workload.tensors]
    if not plugins.LABEL.fullmatch(workload.name):
        return f"its name {workload.name!r} is none (letters, digits, _ . @ + -)"
    if not workload.trained or len(set(names)) < len(names):
        return f"its tensors {', '.join(names) or '(none)'} have no names of their own"
    if any(size < 1 for shape in shapes for size in shape):
        return "a tensor has an axis of no length"
    if sum(math.prod(shape) for shape in shapes) > MOST_ELEMENTS:
        return f"more than {MOST_ELEMENTS:,} numbers of state"
    for tensor in workload.tensors:
        if tensor.axes and len(tensor.axes) != len(tensor.shape):
            return f"{tensor.name} has {len(tensor.shape)} axes and {tensor.axes}"
        if not all(map(math.isfinite, (tensor.scale, *tensor.values))):
            return f"{tensor.name} starts at a scale or values that are not finite"
        if len(tensor.values) != (math.prod(tensor.shape) if tensor.init == "values" else 0):
            return f"{tensor.name} starts at {len(tensor.values)} values, its shape {tensor.shape}"
    if not workload.trace:
        return "its trace is empty: the last of it are the outputs"
    of_numbers = problem(workload) or optimisers.problem(workload.optimiser)
    return of_numbers or _undecided(workload)


def _undecided(workload: Workload) -> str | None:
    """What a workload declares that nothing here would carry out; None where there is nothing."""
    axes = {axis.rpartition("*")[2] for tensor in workload.tensors for axis in tensor.axes}
    slots = {t.name for t in optimisers.slots_of(workload.optimiser, workload.trained)}
    own = {t.name for t in workload.tensors if t.role == "optimiser"}
    if slots != own:
        return f"its optimiser's tensors are {', '.join(sorted(slots)) or 'none'}, not {own or {}}"
    for field, value, known in (
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

    def __init__(
        self,
        source: str,
        run: str,
        logs: Path,
        scratch: Path,
        workload: Workload | None = None,
    ) -> None:
        """workload: what it said it is, where that is known; None to ask nothing else of it."""
        self._source = source
        self._workload = workload
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

    def _tensors(self, what: str, state: State, batch: State) -> dict[str, Array]:
        """What a method of the reference says at a state and a batch."""
        return self._ask("ask", _prefixed(state) | batch, what=what)[1]

    def _shaped(self, name: str, got: Array, shape: tuple[int, ...]) -> Array:
        if got.shape != shape or got.dtype.kind != "f":
            raise HarnessError(
                f"the workload {self._source} failed: {name} is {got.dtype} {got.shape}, "
                f"floating {shape} is wanted"
            )
        return got

    def outputs(self, state: State, batch: State) -> Array:
        return self._of_samples(batch, self._tensors("outputs", state, batch)["outputs"])

    def _of_samples(self, batch: State, outputs: Array) -> Array:
        assert self._workload is not None
        return self._shaped("outputs", outputs, (len(batch["x"]), *self._workload.outputs))

    def look(self, state: State, batch: State) -> Look:
        tensors = self._tensors("look", state, batch)
        tensors_of = self._workload.tensors if self._workload is not None else ()

        def of(kind: str, role: str) -> State:
            return {
                t.name: self._shaped(
                    f"the {kind} of {t.name}", tensors.get(f"{kind}.{t.name}", np.array(0)), t.shape
                )
                for t in tensors_of
                if t.role == role
            }

        outputs = self._of_samples(batch, tensors["outputs"])
        grads, running = of("grad", "trained"), of("running", "running")
        return Look(outputs, float(tensors["loss"]), grads, running)

    def kink_margin(self, state: State, batch: State) -> Array:
        return self._kinks("kink_margin", state, batch)

    def kink_distance(self, state: State, batch: State) -> Array:
        return self._kinks("kink_distance", state, batch)

    def _kinks(self, method: str, state: State, batch: State) -> Array:
        return self._shaped(
            method, self._tensors(method, state, batch)[method], batch["x"].shape[:1]
        )

    def probes(self, initial: State, batch: State, screen_margin: float) -> list[Probe]:
        """The made batches of the workload."""
        answer, tensors = self._ask(
            "probes", _prefixed(initial) | batch, screen_margin=screen_margin
        )
        return [
            Probe(
                str(case),
                {
                    name: self._shaped(
                        f"{name} of {case}", tensors[f"{number}.state.{name}"], value.shape
                    )
                    for name, value in initial.items()
                },
                {name: tensors[f"{number}.batch.{name}"] for name in batch},
                bool(centred),
            )
            for number, (case, centred) in enumerate(answer["probes"])
        ]

    def end(self) -> list[Left]:
        """End the process; what it had started that outlived it."""
        return self._worker.end(grace_s=0)


def _prefixed(state: State) -> dict[str, Array]:
    """A state as it goes beside a batch."""
    return {f"state.{name}": value for name, value in state.items()}
