"""What the verbs golden write and golden check do: a training stored, and a backend held to one.

The first keeps what the harness's reference or a backend trained; the second is lockstep of one
label, judged by the file. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from harness import __version__
from harness.errors import HarnessError
from harness.interface import Array
from harness.measure.distance import relative
from harness.plan import plugins
from harness.plan.choices import Choices, check_choice
from harness.plan.make import make_plan
from harness.plan.model import CONTROL, REFERENCE, Plan
from harness.progress import Progress
from harness.record.facts import describe_dataset, now, versions
from harness.results.golden import RUNG, Checked, Data, Header, Writer
from harness.run.agreement import in_lockstep
from harness.run.golden_file import SCHEMA, Golden, data_of, follow, named, shared, unfit
from harness.run.judge import FileJudge, ReferenceJudge
from harness.run.session import check_answers, unstored
from harness.run.state import State
from harness.tensors import load_tensors
from harness.verdict.numbers import evidence, within
from harness.workers.pool import Key
from harness.workloads import DEFAULT, NETS, WORKLOADS
from harness.workloads.reference.canonical import digest
from harness.workloads.reference.limits import Limit, limit_for

# Parameters after these, and after the first epoch: 1.6 MB each.
AFTER = (1, 10, 100)


def plan_for(
    spec: str | None,
    *,
    python: str | None = None,
    settled: dict[str, str] | None = None,
    seed: int = 0,
    threads: int | None = None,
    workload: str | None = None,
    dataset: str = "auto",
    data_dir: Path | None = None,
) -> Plan:
    """The plan of one float64 training; InputError for words that cannot be used.

    spec: [LABEL=]SPEC as `--backend` takes it; None: nobody but the harness's reference trains.
    workload: one of the harness's own.
    """
    name = check_choice("--workload", DEFAULT if workload is None else workload, tuple(WORKLOADS))
    pythons = {}
    if spec is not None and python is not None:
        label, named_so = plugins.split(spec)
        pythons = {label or plugins.find(named_so, python).name: python}
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
        ),
        WORKLOADS[name],
        NETS[name],
    )


def make(plan: Plan, *, own: bool, after: list[int] | None, progress: Progress) -> Golden:
    """Train, as the plan's one backend (`own`: as the harness's reference), and keep what it was.

    after: numbers of steps, ascending; None: AFTER and the first epoch, or what of them there is.
    Raises InputError for steps beyond the schedule, HarnessError where the training failed or is
    none that anything could be held to.
    """
    with _session(plan, progress) as (state, data):
        inputs, seed = state.inputs, state.seed
        if after is None:
            epoch = inputs.ends[0] + 1
            after = sorted({*(n for n in AFTER if n < epoch), epoch})
        inputs.follow(after)
        if own:
            progress.phase("training the reference", after[-1])
            out = state.judge_folder("lockstep", seed)
            judge = ReferenceJudge(state.reference, inputs, progress.advance)
            judge.train("lockstep", seed, {n - 1 for n in after}, [], out)
            writer = Writer(
                label=REFERENCE, backend="harness", variant="", versions={"numpy": np.__version__}
            )
        else:
            ((label, configured),) = plan.labels.items()
            out, facts = _train_label(state)
            writer = Writer(
                label=f"{label}:float64",
                backend=configured.backend,
                variant=configured.variant,
                versions=versions(facts),
            )
        losses = load_tensors(f"{out}/series")["losses"]
        states = {n: state.learnt(load_tensors(f"{out}/state-{n - 1}")) for n in after}
        tensors = named(losses, states)
        for name, problem in unfit(tensors, plan.workload, after):
            raise HarnessError(f"{writer.label}: {name} {problem}: nothing can be held to that")
        header = Header(
            schema=SCHEMA,
            workload=state.plan.workload,
            data=data,
            seed=seed,
            after=after,
            writer=writer,
            harness_version=__version__,
            written=now(),
            shared=shared(inputs, seed, after[-1]),
            tensors={name: digest(value) for name, value in tensors.items()},
        )
    return Golden(header, losses, states)


def check(golden: Golden, plan: Plan, progress: Progress) -> Checked:
    """Train the plan's one backend through the same steps, and hold it to the file.

    Raises InputError where the data are others, HarnessError where the backend failed.
    """
    header, limit = golden.header, limit_for(RUNG, "float64", "")
    assert limit is not None
    with _session(plan, progress) as (state, data):
        follow(state.inputs, data, header)
        want = state.judge_folder("lockstep", state.seed)
        progress.phase("training the reference", header.after[-1])
        judge = FileJudge(golden, state.reference, state.inputs, progress.advance)
        judge.train("lockstep", state.seed, set(), [], want)
        out, facts = _train_label(state)
        each = in_lockstep(state, out, want)
        measured = [(n, m) for n, _, measurements in each for m in measurements]
        losses = load_tensors(f"{out}/series")["losses"]
    first = next((m for _, m in measured if not within(m, limit)), None)
    return Checked(
        header=header,
        label=next(iter(plan.labels)),
        versions=versions(facts),
        limit=limit,
        measured=measured,
        first=None if first is None else evidence(first, limit),
        first_loss=_first_loss(losses, golden.losses, limit),
    )


def _first_loss(got: Array, want: Array, limit: Limit) -> int | None:
    """The first step whose loss is over the limit."""
    if got.shape != want.shape:
        return None
    off = (not relative(g - w, w) <= limit.value for g, w in zip(got, want, strict=True))
    return next((step for step, over in enumerate(off) if over), None)


@contextmanager
def _session(plan: Plan, progress: Progress) -> Iterator[tuple[State, Data]]:
    """A session of a plan that nobody has started in, and its data; nothing is left of it."""
    with unstored(plan, progress) as (state, dataset):
        state.inputs = check_answers(state.record, dataset, state.scratch)
        state.start_reference()
        yield state, data_of(describe_dataset(dataset))


def _train_label(state: State) -> tuple[Path, dict[str, str]]:
    """Train the plan's one label through lockstep: the files that it left, and its facts.

    Raises InputError where it is not available, HarnessError where it fails.
    """
    (label,) = state.plan.labels
    key, inputs, out = Key(label, "float64"), state.inputs, state.fresh_folder()
    state.pool.start(state.record)
    state.pool.await_started(inputs.data())
    process = state.pool.processes[key]
    if process.status == "ok":
        state.progress.phase(f"training {label} in float64", inputs.lockstep_steps)
        with state.pool.containing(key):
            training = inputs.training("lockstep", state.seed)
            state.pool.train(key, *training, snapshots=[n - 1 for n in inputs.snapshots], out=out)
    if process.status != "ok":
        raise HarnessError(f"{label} failed: {process.reason}")
    return out, process.facts
