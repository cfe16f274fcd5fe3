"""Golden references: a float64 training, stored, which a backend alone is held to later.

A file holds the loss of every step and the parameters after some, as one backend (or the harness's
own reference) computed them, so that neither it nor its framework is needed again. It is a
safetensors file whose metadata say what was trained, on what, and by whom. Imports no framework.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from harness import __version__, data, files
from harness.errors import HarnessError, InputError
from harness.files import why, write_atomic
from harness.interface import Array, Params, Workload
from harness.measure import ladder
from harness.measure.distance import relative
from harness.plan import plugins
from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.plan.model import CONTROL, REFERENCE, Plan
from harness.progress import Progress
from harness.record.facts import now, versions
from harness.record.schema import Measurement
from harness.run.inputs import Inputs
from harness.run.judge import HarnessJudge
from harness.tensors import UNUSABLE, load_tensors
from harness.text import plain_facts
from harness.verdict.finding import Evidence
from harness.verdict.numbers import evidence, sentence_for, within
from harness.workers.launch import WorkerFailed, WorkerUnavailable
from harness.workers.pool import Started, open_worker
from harness.workers.scratch import scratch_bytes, scratch_folder
from harness.workloads import REFERENCES, WORKLOADS
from harness.workloads.reference.canonical import digest
from harness.workloads.reference.limits import Limit, limit_for

SCHEMA = 1
# The one entry of a file's metadata.
KEY = "harness.golden"
# Parameters after these, and after the first epoch: 1.6 MB each.
AFTER = (1, 10, 100)
# A file of the whole ten epochs with thirty checkpoints has 50 MB.
MOST_BYTES = 200_000_000
RUNG = "lockstep"

Steps = Annotated[int, msgspec.Meta(ge=1, le=10**7)]
Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Writer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who trained: a backend as its label's process told it, or the harness's own reference."""

    label: str
    backend: str
    variant: str
    versions: dict[str, str]


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data set; `sha256` as `data.Dataset` has it."""

    name: Literal["fashion-mnist", "synthetic"]
    sha256: Hex


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a golden file says of itself.

    `after`: numbers of steps after which its parameters are there, ascending; the last is how many
    steps were trained. `shared`: digests of the initial parameters, and of the order of samples;
    `tensors`: of the file's own. `written`: when.
    """

    schema: int
    workload: Workload
    data: Data
    seed: Annotated[int, msgspec.Meta(ge=0, lt=10**9)]
    after: Annotated[list[Steps], msgspec.Meta(min_length=1, max_length=10_000)]
    writer: Writer
    harness_version: str
    written: str
    shared: dict[str, Hex]
    tensors: dict[str, Hex]


class Trained(NamedTuple):
    """A training: the loss of every step, float64 (steps,), and parameters by steps done."""

    losses: Array
    params: dict[int, Params]
    facts: dict[str, str]


class Golden(NamedTuple):
    """A golden file's contents."""

    header: Header
    losses: Array
    params: dict[int, Params]


class Checked(NamedTuple):
    """One backend against a golden file: every measurement, with the limit it is held to.

    `first`: the first over it. `first_loss`: the first step whose own loss is, or None.
    """

    header: Header
    label: str
    versions: dict[str, str]
    limit: Limit
    measured: list[tuple[int, Measurement]]
    first: Evidence | None
    first_loss: int | None


def plan_for(
    spec: str | None,
    *,
    python: str | None = None,
    settled: dict[str, str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    dataset: str = "auto",
    data_dir: Path | None = None,
) -> Plan:
    """The plan of one float64 training; InputError for words that cannot be used.

    spec: [LABEL=]SPEC as `--backend` takes it; None: nobody but the harness's reference trains.
    """
    pythons = {}
    if spec is not None and python is not None:
        label, named = plugins.split(spec)
        pythons = {label or plugins.find(named, python).name: python}
    return make_plan(
        Choices(
            backends=(spec if spec is not None else CONTROL,),
            pythons=pythons,
            settled=settled or {},
            dtype="float64",
            seeds=str(seed),
            threads=threads,
            dataset=dataset,
            data_dir=str(data_dir) if data_dir is not None else None,
        )
    )


def make(plan: Plan, *, own: bool, after: list[int] | None, progress: Progress) -> Golden:
    """Train, as the plan's one backend (`own`: as the harness's reference), and keep what it was.

    after: numbers of steps, ascending; None: AFTER and the first epoch, or what of them there is.
    Raises InputError for steps beyond the schedule, HarnessError where the training failed or is
    none that anything could be held to.
    """
    with _inputs(plan, progress) as (inputs, found):
        if after is None:
            epoch = inputs.ends[0] + 1
            after = sorted({*(n for n in AFTER if n < epoch), epoch})
        _lay_out(inputs, after)
        label, configured = next(iter(plan.labels.items()))
        trained = (_train_judge if own else _train_worker)(inputs, after, progress)
        tensors = _named(trained.losses, trained.params)
        writer = REFERENCE if own else f"{label}:float64"
        for name, problem in _unfit(tensors, plan.workload, after):
            raise HarnessError(f"{writer}: {name} {problem}: nothing can be held to that")
        header = Header(
            schema=SCHEMA,
            workload=plan.workload,
            data=found,
            seed=plan.seeds[0],
            after=after,
            writer=Writer(
                label=writer,
                backend="harness" if own else configured.backend,
                variant="" if own else configured.variant,
                versions={"numpy": np.__version__} if own else versions(trained.facts),
            ),
            harness_version=__version__,
            written=now(),
            shared=_shared(inputs),
            tensors={name: digest(value) for name, value in tensors.items()},
        )
    return Golden(header, trained.losses, trained.params)


def check(golden: Golden, plan: Plan, progress: Progress) -> Checked:
    """Train the plan's one backend through the same steps, and hold it to the file.

    Raises InputError where the data are others, HarnessError where the backend failed.
    """
    header = golden.header
    label = next(iter(plan.labels))
    with _inputs(plan, progress) as (inputs, found):
        if found.sha256 != header.data.sha256:
            raise InputError(
                f"the golden file was made with {header.data.name} ({header.data.sha256[:12]}), "
                f"and this is {found.name} ({found.sha256[:12]}); choose its --data-dir"
            )
        _lay_out(inputs, header.after)
        moved = [name for name, here in _shared(inputs).items() if header.shared.get(name) != here]
        if moved:
            raise HarnessError(
                f"{', '.join(moved)}: made here, not what the golden file was trained with; every "
                "backend would share the mistake"
            )
        trained = _train_worker(inputs, header.after, progress)
    limit = limit_for(RUNG, "float64", "")
    assert limit is not None
    measured, before = [], 0
    for n in header.after:
        ours = ladder.lockstep(
            trained.params[n],
            golden.params[n],
            trained.losses[before:n],
            golden.losses[before:n],
            before,
        )
        measured += [(n, m) for m in ours]
        before = n
    first = next((m for _, m in measured if not within(m, limit)), None)
    return Checked(
        header=header,
        label=label,
        versions=versions(trained.facts),
        limit=limit,
        measured=measured,
        first=None if first is None else evidence(first, limit),
        first_loss=_first_loss(trained.losses, golden.losses, limit),
    )


def _first_loss(got: Array, want: Array, limit: Limit) -> int | None:
    """The first step whose loss is over the limit."""
    if got.shape != want.shape:
        return None
    off = (not relative(g - w, w) <= limit.value for g, w in zip(got, want, strict=True))
    return next((step for step, over in enumerate(off) if over), None)


@contextmanager
def _inputs(plan: Plan, progress: Progress) -> Iterator[tuple[Inputs, Data]]:
    """Data and schedules of a plan, in a scratch folder that goes at the end."""
    directory = Path(plan.data_dir) if plan.data_dir is not None else None
    dataset = data.load(plan.dataset, directory, warn=progress.note)
    found = Data(name="synthetic" if dataset.synthetic else "fashion-mnist", sha256=dataset.sha256)
    with scratch_folder(scratch_bytes(plan)) as scratch:
        yield Inputs(plan, dataset, scratch), found


def _lay_out(inputs: Inputs, after: list[int]) -> None:
    """Save the schedule of a training; InputError where it has not so many steps."""
    if after[-1] > len(inputs.slots):
        raise InputError(f"after {after[-1]} steps: the schedule has {len(inputs.slots)}")
    seed = inputs.plan.seeds[0]
    inputs.save_schedule("golden", seed, inputs.order, inputs.slots[: after[-1]])


def _shared(inputs: Inputs) -> dict[str, str]:
    """Digests of what no backend makes: initial parameters, and the samples of every step."""
    seed = inputs.plan.seeds[0]
    found = {name: digest(value) for name, value in inputs.initial(seed).items()}
    return found | {"the order": digest(np.concatenate(inputs.schedule("golden", seed)))}


def _train_judge(inputs: Inputs, after: list[int], progress: Progress) -> Trained:
    """The harness's own reference."""
    progress.phase(REFERENCE, after[-1])
    judge = HarnessJudge(REFERENCES[inputs.plan.workload.name], inputs, progress.advance)
    out = inputs.scratch / "golden"
    judge.train("golden", inputs.plan.seeds[0], {n - 1 for n in after}, [], out)
    return _read_training(out, after, {})


def _train_worker(inputs: Inputs, after: list[int], progress: Progress) -> Trained:
    """The plan's one backend, in a worker; HarnessError where it fails."""
    plan, seed = inputs.plan, inputs.plan.seeds[0]
    label, configured = next(iter(plan.labels.items()))
    out, logs = inputs.scratch / "golden", inputs.scratch / "logs"
    out.mkdir()
    logs.mkdir()
    limits = plan.timeouts
    try:
        worker = open_worker(
            configured,
            name=label,
            run="golden",
            dtype="float64",
            threads=plan.threads,
            workload=plan.workload,
            logs=logs,
            scratch=inputs.scratch,
            timeouts=limits,
        )
        try:
            facts = plain_facts(msgspec.convert(worker.answer(), Started).facts)
            progress.phase(label, after[-1])
            worker.call("data", limits.command_s, None, **inputs.data())
            worker.call(
                "train",
                limits.command_s + after[-1] * limits.per_step_s,
                lambda done, _: progress.advance(done),
                params=inputs.file(f"initial-{seed}"),
                schedule=inputs.file(f"golden-{seed}"),
                snapshots=[n - 1 for n in after],
                evaluations=[],
                at_once=plan.timing.steps,
                out=str(out),
            )
            return _read_training(out, after, facts)
        finally:
            worker.end(grace_s=2.0)
    except WorkerUnavailable as error:
        raise InputError(f"--backend {label}: not available: {error}") from None
    except WorkerFailed as error:
        raise HarnessError(f"{label} failed: {error}") from None
    except UNUSABLE as error:
        raise HarnessError(
            f"{label} failed: unusable answer: {type(error).__name__}: {error}"
        ) from None


def _read_training(out: Path, after: list[int], facts: dict[str, str]) -> Trained:
    losses = load_tensors(f"{out}/series")["losses"]
    return Trained(losses, {n: load_tensors(f"{out}/params-{n - 1}") for n in after}, facts)


def _named(losses: Array, params: dict[int, Params]) -> dict[str, Array]:
    """A file's tensors: "losses", and "<steps>/<parameter>"."""
    return {"losses": losses} | {
        f"{n}/{name}": value for n, of in params.items() for name, value in of.items()
    }


def _shapes(workload: Workload, after: list[int]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a file's tensors, all float64."""
    found: dict[str, tuple[int, ...]] = {"losses": (after[-1],)}
    return found | {f"{n}/{p.name}": p.shape for n in after for p in workload.parameters}


def _unfit(
    tensors: dict[str, Array], workload: Workload, after: list[int]
) -> Iterator[tuple[str, str]]:
    """Tensors that nothing can be held to, each with what is wrong."""
    for name, shape in _shapes(workload, after).items():
        value = tensors.get(name)
        if value is None:
            yield name, "is missing"
        elif value.shape != shape or value.dtype != np.float64:
            yield name, f"is {value.dtype} {value.shape}, not float64 {shape}"
        elif not np.isfinite(value).all():
            yield name, "is not finite"


def check_place(path: Path) -> None:
    """InputError, before anything is trained, where no file can be written."""
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise InputError(f"--file {path}: no file can be written there")


def write(golden: Golden, path: Path) -> None:
    """Store it, whole or not at all."""
    metadata = {KEY: msgspec.json.encode(golden.header).decode()}
    write_atomic(path, save(_named(golden.losses, golden.params), metadata))


def read(path: Path) -> Golden:
    """A golden file; InputError for one that is cut, changed, foreign, or of another workload."""
    try:
        with files.open_plain(path, MOST_BYTES), safe_open(str(path), framework="numpy") as file:
            return _read(file, path)
    except OSError as error:
        raise InputError(f"golden file {path}: {why(error)}") from None
    except (SafetensorError, ValueError) as error:
        raise InputError(f"golden file {path}: not a whole golden file ({error})") from None


def _read(file: Any, path: Path) -> Golden:
    stored = (file.metadata() or {}).get(KEY)
    if stored is None:
        raise InputError(f"golden file {path}: not one of the harness's golden files")
    header = files.decode(stored, "golden file", str(path), Header, SCHEMA)
    if any(a >= b for a, b in zip(header.after, header.after[1:], strict=False)):
        raise InputError(f"golden file {path}: its steps are not ascending")
    if header.workload != WORKLOADS.get(header.workload.name):
        raise InputError(
            f"golden file {path}: made for another workload than {' or '.join(WORKLOADS)} is here"
        )
    shapes = _shapes(header.workload, header.after)
    if {*file.keys()} != {*shapes} or {*header.tensors} != {*shapes}:
        raise InputError(f"golden file {path}: other tensors than it names")
    tensors: dict[str, Array] = {}
    for name, shape in shapes.items():
        part = file.get_slice(name)
        if part.get_dtype() != "F64" or tuple(part.get_shape()) != shape:
            raise InputError(f"golden file {path}: {name} is not float64 {shape}")
        tensors[name] = file.get_tensor(name)
        if digest(tensors[name]) != header.tensors[name]:
            raise InputError(f"golden file {path}: {name} was changed since it was written")
    for name, problem in _unfit(tensors, header.workload, header.after):
        raise InputError(f"golden file {path}: {name} {problem}")
    params = {
        n: {p.name: tensors[f"{n}/{p.name}"] for p in header.workload.parameters}
        for n in header.after
    }
    return Golden(header, tensors["losses"], params)


def summary(found: Checked) -> str:
    """What a check found, in one sentence."""
    writer = found.header.writer.label
    if found.first is None:
        largest = max(
            (m.distance for _, m in found.measured if isinstance(m.distance, float)), default=0.0
        )
        return (
            f"{found.label} computes what {writer} did over {found.header.after[-1]} steps: at "
            f"most {largest:.2g} apart, limit {found.limit.value:g}"
        )
    told = f"{found.label} is not what {writer} was: {sentence_for(RUNG, found.first)}"
    if found.first_loss is not None:
        told += f"; the first loss that differs is that of step {found.first_loss}"
    return told


def to_json(found: Checked, file: Path) -> dict[str, Any]:
    """A check as plain data."""
    first = found.first
    return {
        "golden": str(file),
        "verdict": "agree" if first is None else "disagree",
        "summary": summary(found),
        "label": found.label,
        "versions": found.versions,
        "header": msgspec.to_builtins(found.header),
        "limit": found.limit.value,
        "measurements": [
            {
                "steps": n,
                "tensor": m.tensor,
                "distance": m.distance,
                "problem": m.problem,
                "element": m.worst.index if m.worst else None,
                "got": m.worst.got if m.worst else None,
                "expected": m.worst.want if m.worst else None,
            }
            for n, m in found.measured
        ],
        "first_divergence": None
        if first is None
        else {
            "rung": RUNG,
            "step": first.step,
            "tensor": first.tensor,
            "index": first.index,
            "expected": first.expected,
            "got": first.got,
            "distance": first.distance,
            "limit": first.limit,
            "problem": first.problem,
            "first_loss": found.first_loss,
        },
    }
