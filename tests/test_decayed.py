"""A rule that makes a parameter smaller and moves it: in which order is a framework's choice.

torch stores it twice in a step, optax once; both are right, at every learning rate.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.measure import ladder, straying
from harness.verdict.numbers import limit_of, within
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference import canonical, optimisers
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Sigmoid
from tests.conftest import harness, needs

RATES = (1e-5, 1e-3, 1e-1)
MODEL = """
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference import optimisers
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Sigmoid
NET = declare("decayed", Dense("W1", "b1", 5, 4), Sigmoid(), Dense("W2", "b2", 4, 3),
    loss=SoftmaxCrossEntropy(), optimiser=optimisers.adamw(1e-5), init=fan_in_uniform, x=(5,),
    data=DATA, batch_size=16, epochs=2, model="tiny")
"""


def decayed(lr: float, decay: float = 0.01):
    return declare(
        *("decayed", Dense("W1", "b1", 50, 40), Sigmoid(), Dense("W2", "b2", 40, 3)),
        loss=SoftmaxCrossEntropy(),
        optimiser=optimisers.adamw(lr, decay=decay),
        init=fan_in_uniform,
        x=(50,),
        data="made",
        batch_size=32,
        epochs=1,
    )


def as_torch_does(workload, state, grads, dtype: str, decay: float):
    """AdamW's first step, a kernel after the other, every result stored in the dtype."""
    of, new = np.dtype(dtype).type, dict(state)
    o = workload.optimiser
    for name, g in grads.items():
        g = g.astype(dtype)
        p = state[name] * of(1 - o.lr * decay)
        m, v = of(1 - o.numbers["beta1"]) * g, of(1 - o.numbers["beta2"]) * g * g
        size = o.lr / (1 - o.numbers["beta1"])
        root = np.sqrt(v) / of((1 - o.numbers["beta2"]) ** 0.5) + of(o.numbers["eps"])
        new[name] = p - of(size) * m / root
    return new


def measured(lr: float, dtype: str, decay: float) -> list[tuple[ladder.Measurement, bool]]:
    """The update of every parameter by that step, where .01 is declared, and whether it holds."""
    declared = decayed(lr)
    workload, judge = declared.workload, Composed(declared.net)
    state = {n: v.astype(dtype) for n, v in canonical.initial_state(workload, 0).items()}
    random = np.random.default_rng(1)
    batch = {"x": random.random((32, 50), np.float32).astype(dtype)}
    batch["y"] = random.integers(0, 3, 32)
    wanted = ladder.Wanted.of(judge, workload, state, batch, dtype, centred=False)
    new = as_torch_does(workload, state, wanted.grads, dtype, decay)
    found = ladder.teacher_forced(
        {f"new.{n}": new[n] for n in wanted.grads}, wanted, judge=judge,
        process=dtype, case="step 0", step=0,
    )  # fmt: skip
    found = [m for m in found if m.rung == "update" and m.tensor in wanted.grads]
    straying.grant(
        found, straying.find_noise(judge, workload, state, batch, False), limits=True, jumps={}
    )
    return [(m, within(m, limit_of(m, "strict"))) for m in found]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("lr", RATES)
def test_a_parameter_that_is_decayed_first_is_as_right_as_one_that_is_not(lr, dtype):
    found = measured(lr, dtype, 0.01)
    assert len(found) == 4
    assert all(holds for _, holds in found), found


@pytest.mark.parametrize("lr", RATES)
def test_a_decay_that_is_off_by_a_thousandth_is_still_found(lr):
    assert not all(holds for _, holds in measured(lr, "float64", 0.01001))


@pytest.mark.parametrize("rule", optimisers.RULES)
def test_in_either_order_a_step_is_the_same_but_for_rounding(rule):
    optimiser = getattr(optimisers, rule)(0.1, *((0.01,) if rule == "decay" else ()))
    trained = decayed(0.1).workload.trained
    random = np.random.default_rng(0)
    grads = {t.name: random.standard_normal(t.shape) for t in trained}
    state = {t.name: random.standard_normal(t.shape) for t in trained}
    state |= {
        t.name: np.abs(random.standard_normal(t.shape))
        for t in optimisers.slots_of(optimiser, trained)
    }
    once, twice = (
        optimisers.stepped(optimiser, state, grads, decayed_first=first) for first in (False, True)
    )
    assert once.keys() == twice.keys()
    for name, value in once.items():
        assert np.allclose(twice[name], value, rtol=1e-14, atol=1e-14)
    moved = any((twice[name] != once[name]).any() for name in grads)
    assert moved is bool(optimisers.RULES[rule].decays)


@needs("torch")
def test_a_framework_that_decays_first_agrees(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {}
    for part, rows in (("train", 96), ("test", 20)):
        arrays[f"{part}_x"] = random.standard_normal((rows, 5)).astype(np.float32)
        arrays[f"{part}_y"] = random.integers(0, 3, rows)
    np.savez(tmp_path / "made.npz", **arrays)
    (tmp_path / "mine.py").write_text(MODEL.replace("DATA", repr(str(tmp_path / "made.npz"))))
    words = ("--workload", "mine.py:NET", "--rooms", str(Path(__file__).parent / "rooms"))
    words += ("--backend", "torch", "--profile", "smoke", "--threads", "1")
    done = harness("compare", *words, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "agree"
