"""Every convention, planted in real frameworks, is named with its number by a run; others are not.

The workers of all nets start once: they go on from net to net, and take each plant by a command.
`--explanations-report PATH` plants all of them and writes what was named.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from harness.explain.seen import PLACES
from harness.explain.table import TABLE
from harness.plan.make import missing
from harness.record.schema import Explained, Record
from harness.record.store import read
from harness.report import page as pages
from harness.report.run import as_markdown, report
from harness.report.run_tables import Run
from harness.run import session
from harness.run.state import State
from harness.verdict import verdict
from harness.verdict.numbers import limit_of
from harness.workers.scratch import scratch_folder
from tests.conftest import FAULTS as FOLDER
from tests.conftest import Silent, carry_out, needs, plant
from tests.make import make_plan
from tests.test_faults import QUICK

sys.path.append(str(FOLDER))
from conventions import NETS, OUTSIDE, PLANTED, Convention

FRAMEWORKS = ("torch", "jax")
# One epoch of eleven full batches and a short one.
ROWS, SHORT = 186, {"checkpoints": (0, 1, 5, -1), "trajectory": None, "small_sizes": ()}
# What plain pytest plants: of every rung something, each in one framework, of three nets.
FEW = {
    "torch": (
        *("columns-permuted", "leaky-slope", "operands-bfloat16", "clipped-global-norm"),
        *("label-smoothing", "dampened", "step-skipped", "bump-of-a-gelu"),
    ),
    "jax": ("weight-transposed", "probability-clipped", "relu-at-zero", "stale-gradients", "l1"),
}


class Trial(NamedTuple):
    """A convention, or what is none, in a framework."""

    convention: str
    framework: str

    def __str__(self) -> str:
        return f"{self.convention}-{self.framework}"

    @property
    def what(self) -> Convention:
        return (PLANTED | OUTSIDE)[self.convention]


def trials(config: pytest.Config) -> list[Trial]:
    """All, net by net, or FEW of them."""
    every = config.getoption("--explanations-report")
    both = PLANTED | OUTSIDE
    found = [
        Trial(name, framework)
        for framework in FRAMEWORKS
        for name in both
        if every or name in FEW[framework]
    ]
    return sorted(found, key=lambda trial: [*NETS].index(trial.what.net))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "trial" in metafunc.fixturenames:
        metafunc.parametrize("trial", trials(metafunc.config), ids=str)


def samples(net: str, folder: Path) -> str:
    """A data set for a net; its labels leave the last class out, so that they may be shifted."""
    workload, rng = NETS[net].workload, np.random.default_rng(5)
    held = {}
    for part, rows in (("train", ROWS), ("test", 20)):
        x = rng.standard_normal((rows, *workload.x)).astype(np.float32)
        if workload.normalise is not None:
            x = rng.integers(0, 256, (rows, *workload.x), np.uint8)
        y = rng.integers(0, 2, rows)
        held |= {f"{part}_x": x, f"{part}_y": y if workload.y == "class" else y.astype(np.float32)}
    np.savez(folder / f"{net}.npz", **held)
    return str(folder / f"{net}.npz")


def plan_of(net: str, folder: Path, names: tuple[str, ...], **words):
    """One of NETS in these frameworks, on samples of its own in a folder."""
    plan = make_plan(
        f"{FOLDER / 'conventions.py'}:{net}",
        profile="smoke",
        backends=names,
        threads=1,
        rooms=str(FOLDER.parent / "rooms"),
        timeout_s=240.0,
        **words,
    )
    workload = msgspec.structs.replace(plan.workload, data=samples(net, folder))
    return msgspec.structs.replace(plan, workload=workload, steps=None, **QUICK, **SHORT)


class Workers:
    """Workers that go on from net to net; `live` is the session of the net they are at."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.names = tuple(name for name in FRAMEWORKS if not missing(name))
        self.folder, self.scratch = folder, opened.enter_context(scratch_folder(2**28))
        self.opened, self.net = opened, ""
        self.states: list[State] = []
        self.live: session.Live

    def at(self, net: str) -> session.Live:
        if net != self.net:
            plan, dataset = session.load_dataset(plan_of(net, self.folder, self.names), Silent())
            record = session.empty_record(plan, net)
            (scratch := self.scratch / net).mkdir()
            state = State(plan, record, self.folder, scratch, Silent())
            if self.states:
                state.pool = self.states[-1].pool
            else:
                self.opened.callback(state.end_all)
            self.states.append(state)
            session.begin(state, dataset)
            state.batches = list(session.batches(state))
            self.live, self.net = session.Live(state), net
        return self.live


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with ExitStack() as opened:
        yield Workers(tmp_path_factory.mktemp("explained"), opened)


def test_every_convention_has_its_plants():
    assert {h.id for h in TABLE} == {what.id or name for name, what in PLANTED.items()}
    assert {trial for names in FEW.values() for trial in names} <= {*PLANTED, *OUTSIDE}
    assert {PLANTED[n].rung for names in FEW.values() for n in names if n in PLANTED} == {
        rung for h in TABLE for rung in h.rungs
    }


def test_what_is_planted_is_named_with_its_number_and_what_is_no_convention_is_not(
    workers, trial, explanations
):
    if trial.framework not in workers.names:
        pytest.skip(missing(trial.framework))
    live = workers.at(trial.what.net)
    function = trial.convention.replace("-", "_")
    record = live.trial({trial.framework: plant(f"conventions_{trial.framework}.py", function)})
    judged = verdict.judge(record)
    assert judged.labels[trial.framework].status == "ok", judged.labels[trial.framework].reason
    (sought,) = record.explained
    limit = limit_at(record, sought)
    explanations.add(trial.convention, trial.framework, trial.what, sought, limit)
    assert sought.rung == trial.what.rung
    assert sought.dtype == "float64"
    # The verdict shows what was found beside the divergence that it names.
    finding = judged.labels[trial.framework].findings[sought.rung]
    assert finding.explanation == sought.found
    if trial.convention in OUTSIDE:
        assert sought.found == []
        return
    names = [one.hypothesis for one in sought.found]
    id_ = trial.what.id or trial.convention
    assert id_ in names
    assert {*names} <= {id_, *trial.what.alike}
    (found,) = (one for one in sought.found if one.hypothesis == id_)
    assert found.numbers == pytest.approx(list(trial.what.numbers), rel=1e-2)
    assert found.left <= limit


def limit_at(record: Record, sought: Explained) -> float:
    """The largest limit of correct code of what an explanation was sought for."""
    if sought.rung == "inputs":  # none, but for last places where pixels are divided anew
        return PLACES * 2.0**-23
    rungs = {"loss": ("loss", "gradients")}.get(sought.rung, (sought.rung,))
    return max(
        limit.value
        for m in record.results[sought.label].measurements
        if (m.dtype, m.case) == (sought.dtype, sought.case) and m.rung in rungs
        if (limit := limit_of(m, "strict")) is not None
    )


@needs("torch")
def test_what_explains_a_stored_runs_first_divergence_stands_wherever_that_is_told(tmp_path):
    planted = {"torch": plant("conventions_torch.py", "leaky_slope")}
    run = carry_out(plan_of("MIXED", tmp_path, ("torch",), plants=planted), tmp_path / "results")
    told = "the ReLU has slope 0.01 below 0, in h1"
    (stored,) = read(run.folder).explained
    assert (stored.label, stored.rung, stored.case) == ("torch", "forward", "step 0")
    assert [one.sentence for one in stored.found] == [told]
    (found,) = run.json["first_divergence"]["explanation"]
    assert (found["hypothesis"], found["sentence"]) == ("leaky-slope", told)
    assert found["numbers"] == pytest.approx([0.01], rel=1e-9)
    assert told in run.verdict.summary
    assert told in as_markdown(run.record, run.verdict)
    assert told in pages.render(report(Run(run.record, run.verdict), "page"))
