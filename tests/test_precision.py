"""Reduced precision is a profile of its own: named, proven by a probe, judged by its own limits.

The limits come from a simulation on the real data (see `harness/workloads/reference/limits.py`);
here it is repeated on small made tensors. Frameworks are reached through a worker only.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from backends import BACKENDS, PRECISIONS
from harness.errors import InputError
from harness.interface import Array, State
from harness.measure import ladder
from harness.measure.distance import relative
from harness.measure.ladder import Wanted
from harness.measure.precision import not_in_force, precision_operands
from harness.plan.catalogue import describe
from harness.plan.make import missing
from harness.plan.model import process_precision
from harness.verdict.verdict import judge
from harness.workers.launch import Worker, WorkerUnavailable, environment
from harness.workloads import NETS, WORKLOADS
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.limits import LIMITS, limit_for
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.screening import SCREEN_MARGINS, UNIT_ROUNDOFF
from tests import make
from tests.conftest import needs, plant
from tests.make import make_plan

REDUCED = [name for name in PRECISIONS if name != "strict"]
BITS = {"tf32": 10, "bfloat16": 7}
LR = 0.1
WORKLOAD, REFERENCE = WORKLOADS["mlp-scratch"], Composed(NETS["mlp-scratch"])


def with_bits(array: Array, bits: int, *, nearest: bool = True) -> Array:
    """float32 with so many explicit bits of significand, to nearest even or cut."""
    whole = np.ascontiguousarray(array, np.float32).view(np.uint32).astype(np.uint64)
    dropped = 23 - bits
    if nearest:
        whole = whole + (1 << (dropped - 1)) - 1 + (whole >> dropped & 1)
    return ((whole >> dropped) << dropped).astype(np.uint32).view(np.float32)


# -- the simulation against the table ----------------------------------------------------------


def made_batch(precision: str) -> tuple[State, State]:
    """A state and 256 samples without pre-activations near a kink."""
    rng = np.random.default_rng(5)
    x = (rng.random((3000, 784)) * (rng.random((3000, 784)) < 0.5)).astype(np.float32)
    state = {
        "W1": (rng.standard_normal((784, 256)) * 0.01).astype(np.float32),
        "b1": np.zeros(256, np.float32),
        "W2": (rng.standard_normal((256, 10)) * 0.01).astype(np.float32),
        "b2": np.zeros(10, np.float32),
    }
    margin = REFERENCE.kink_margin(cast(state), {"x": x.astype(np.float64)})
    rows = np.flatnonzero(margin >= SCREEN_MARGINS[precision] * UNIT_ROUNDOFF)[:256]
    assert len(rows) == 256
    return state, {"x": x[rows], "y": rng.integers(0, 10, 256)}


def rounded_step(
    state: State, batch: State, bits: int, *, nearest: bool = True, lr: float = LR
) -> dict[str, Array]:
    """What a worker would write whose products round their operands."""
    x, y = batch["x"], batch["y"]

    def r(array: Array) -> Array:
        return with_bits(array, bits, nearest=nearest)

    z = r(x) @ r(state["W1"]) + state["b1"]
    h = np.maximum(z, 0)
    logits = r(h) @ r(state["W2"]) + state["b2"]
    loss, wide = SoftmaxCrossEntropy()(logits.astype(np.float64), y)
    d = wide.astype(np.float32)
    dz = np.where(z > 0, r(d) @ r(state["W2"]).T, np.float32(0))
    grads = {"W1": r(x).T @ r(dz), "b1": dz.sum(0), "W2": r(h).T @ r(d), "b2": d.sum(0)}
    tensors = {"x": x, "y": y, "outputs": logits, "loss": np.array(loss)}
    tensors["step loss"] = tensors["loss"]
    for name, value in state.items():
        tensors[f"held.{name}"] = value
        tensors[f"grad.{name}"] = grads[name]
        tensors[f"new.{name}"] = value - np.float32(lr) * grads[name]
    return tensors


def shares(precision: str, **how: Any) -> dict[str, float]:
    """The largest share of its limit in each rung, as the first checkpoint of a run."""
    bits = how.pop("bits", BITS[precision])
    state, batch = made_batch(precision)
    found: dict[str, float] = {}
    for m in ladder.teacher_forced(
        rounded_step(state, batch, bits, **how),
        Wanted.of(REFERENCE, WORKLOAD, state, batch, "float32"),
        process="float32",
        case="step 0",
        step=0,
    ):
        limit = limit_for(m.rung, m.dtype, m.case, precision)
        assert limit is not None
        assert m.problem is None
        if limit.value == 0:
            assert m.distance == 0
            continue
        found[m.rung] = max(found.get(m.rung, 0.0), m.distance / limit.value)
    return found


@pytest.mark.parametrize(
    ("precision", "nearest"), [("tf32", True), ("tf32", False), ("bfloat16", True)]
)
def test_rounded_products_stay_below_a_third_of_their_profiles_limits(precision, nearest):
    found = shares(precision, nearest=nearest)
    assert set(found) == {"forward", "loss", "gradients", "update"}
    assert max(found.values()) <= 1 / 3, found


@pytest.mark.parametrize("precision", REDUCED)
def test_rounded_products_are_far_over_the_strict_limits(precision):
    state, batch = made_batch(precision)
    tensors = rounded_step(state, batch, BITS[precision])
    want = REFERENCE.outputs(cast(state), cast(batch))
    off = relative(tensors["outputs"] - want, want)
    assert off >= 3 * limit_for("forward", "float32", "step 0").value


@pytest.mark.parametrize("precision", REDUCED)
def test_a_learning_rate_off_by_a_tenth_is_over_a_reduced_limit(precision):
    found = shares(precision, lr=1.1 * LR)
    assert found["update"] >= 3
    assert found["gradients"] <= 1 / 3


@pytest.mark.parametrize(("precision", "bits"), [("tf32", 4), ("bfloat16", 3)])
def test_products_of_far_fewer_bits_are_over_a_reduced_limit(precision, bits):
    found = shares(precision, bits=bits)
    assert min(found["forward"], found["gradients"]) >= 3, found


# -- the probe ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", REDUCED)
def test_a_profiles_own_products_are_exact_under_it_and_under_nothing_coarser(precision):
    bits = BITS[precision]
    for name, a, b, want in precision_operands("float32", precision):
        assert np.array_equal(with_bits(a, bits) @ with_bits(b, bits), want)
        coarser = with_bits(a, bits - 1, nearest=False) @ with_bits(b, bits - 1, nearest=False)
        assert np.all(coarser != want), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_probes_product_is_exact_in_its_dtype(dtype):
    for name, a, b, want in precision_operands(dtype):
        assert {a.dtype, b.dtype, want.dtype} == {np.dtype(dtype)}
        assert np.array_equal(a @ b, want), name
        exact = a.astype(np.longdouble)[:3] @ b.astype(np.longdouble)
        assert np.array_equal(exact, want[:3].astype(np.longdouble)), name


@pytest.mark.parametrize(
    ("dtype", "reduce"),
    [
        *(("float32", partial(with_bits, bits=bits)) for bits in BITS.values()),
        *(("float32", partial(with_bits, bits=bits, nearest=False)) for bits in BITS.values()),
        ("float32", partial(with_bits, bits=22, nearest=False)),
        ("float64", lambda a: a.astype(np.float32).astype(np.float64)),
    ],
)
def test_a_reduced_mode_changes_every_element_of_the_probes_product(dtype, reduce):
    for name, a, b, want in precision_operands(dtype):
        side = reduce(a) if name == "left operand" else a
        other = reduce(b) if name == "right operand" else b
        assert np.all(side @ other != want), name
        assert np.all(reduce(a) @ reduce(b) != want), name


def test_bfloat16_shows_in_the_tf32_probe():
    for _, a, b, want in precision_operands("float32", "tf32"):
        assert np.mean(with_bits(a, 7) @ with_bits(b, 7) != want) > 0.5


def test_a_float64_process_is_probed_with_float64_products_whatever_the_profile():
    (_, a, _, want), _ = precision_operands("float64", "strict")
    (_, a2, _, want2), _ = precision_operands("float64", "tf32")
    assert a.tobytes() == a2.tobytes()
    assert want.tobytes() == want2.tobytes()


@pytest.mark.parametrize("precision", REDUCED)
def test_a_mode_is_in_force_only_where_every_element_was_rounded(precision):
    bits = BITS[precision]
    operands = precision_operands("float32")
    done = {n: (with_bits(a, bits) @ with_bits(b, bits), want) for n, a, b, want in operands}
    assert not_in_force(precision, done) is None
    one_side = dict(done)
    name, a, b, want = operands[1]
    one_side[name] = (a @ b, want)
    reason = not_in_force(precision, one_side)
    assert reason is not None
    assert "0% of a float32 product's elements" in reason
    assert "right operand" in reason
    exact = {n: (a @ b, want) for n, a, b, want in operands}
    assert "not in force" in (not_in_force(precision, exact) or "")
    missing_one = {"p": (np.zeros(0, np.float32), want)}
    assert "came back" in (not_in_force(precision, missing_one) or "")


# -- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rung", ["inputs", "forward", "loss", "gradients", "update"])
@pytest.mark.parametrize(
    "case", ["step 0", "step 1500", "step 0, batch of 1", "corner", "shifted-up"]
)
def test_every_float32_measurement_has_a_limit_in_every_profile(precision, rung, case):
    limit = limit_for(rung, "float32", case, precision)
    assert limit is not None
    if rung != "inputs":
        strict = limit_for(rung, "float32", case)
        assert (limit.value > strict.value) == (precision != "strict")


def test_what_is_copied_and_what_is_exact_has_limit_0_in_every_profile():
    for profile in PRECISIONS:
        assert limit_for("inputs", "float32", "step 0", profile).value == 0
        assert limit_for("forward", "float32", "precision", profile).value == 0


def test_bfloat16_has_the_wider_limits():
    for limit in LIMITS:
        if limit.precision == "tf32":
            wider = limit_for(
                limit.rung, "float32", limit.case.replace("*batch", "batch"), "bfloat16"
            )
            assert wider.value > limit.value


def test_a_record_is_judged_by_the_limits_of_its_profile():
    record = make.record()
    make.find(record, "torch", "forward", dtype="float32", case="step 10").distance = 1e-3
    assert judge(record).verdict == "disagree"
    labels = {
        n: msgspec.structs.replace(v, precision="tf32") for n, v in record.plan.labels.items()
    }
    record.plan = msgspec.structs.replace(record.plan, labels=labels)
    assert judge(record).verdict == "agree"
    make.find(record, "torch", "forward", dtype="float64", case="step 10").distance = 1e-9
    assert judge(record).first_divergence.dtype == "float64"


# -- the plan ----------------------------------------------------------------------------------


def refusal(**words: Any) -> str:
    with pytest.raises(InputError) as caught:
        make_plan(**words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("precision", REDUCED)
def test_numpy_has_no_reduced_precision(precision):
    reason = f"numpy has no {precision} products on cpu, only strict"
    assert refusal(backends=("numpy",), precision=precision) == f"--backend numpy: {reason}"
    assert make_plan(precision=precision).skipped["numpy"] == reason


def test_an_unknown_precision_is_refused_with_the_choices():
    assert refusal(precision="bf16").endswith("choose from strict, tf32, bfloat16")


def test_float64_has_no_reduced_precision():
    assert "float32 only" in refusal(precision="tf32", dtype="float64")


@needs("torch")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_plan_has_one_precision_its_screening_and_strict_twins(precision):
    plan = make_plan(precision=precision, backends=("torch",))
    (label,) = plan.labels.values()
    assert label.precision == precision
    assert plan.screen_margin == SCREEN_MARGINS[precision]
    assert process_precision(label, "float32") == precision
    assert process_precision(label, "float64") == "strict"


def test_list_tells_the_profiles_of_every_device():
    found = describe()["backends"]
    assert found["numpy"]["precisions"] == {"cpu": ["strict"]}
    for name, entry in BACKENDS.items():
        assert set(found[name]["precisions"]) == set(entry.devices)


def test_only_a_tf32_process_is_free_of_the_variable_that_forbids_tf32(monkeypatch):
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    assert "NVIDIA_TF32_OVERRIDE" not in environment(1, {}, "tf32")
    assert environment(1, {}, "bfloat16")["NVIDIA_TF32_OVERRIDE"] == "0"
    assert environment(1, {})["NVIDIA_TF32_OVERRIDE"] == "0"


# -- through a worker --------------------------------------------------------------------------


class Started:
    """One worker's facts, and products through it."""

    def __init__(self, worker: Worker, facts: dict[str, str], folder: Path) -> None:
        self.worker, self.facts, self.folder = worker, facts, folder

    def products(self, precision: str = "strict") -> dict[str, tuple[Array, Array]]:
        found = {}
        for name, a, b, want in precision_operands("float32", precision):
            found[name] = (
                self.worker.exchange("op", 60.0, {"0": a, "1": b}, name="matmul")[1]["0"],
                want,
            )
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    workers = []

    def start(name: str, precision: str, fault: str | None = None) -> Started:
        entry = BACKENDS[name]
        worker = Worker(
            name,
            "run",
            make_plan(backends=("numpy",)).labels["numpy"].python,
            environment(1, entry.environment, precision),
            1,
            tmp_path,
            tmp_path,
        )
        workers.append(worker)
        started = worker.call(
            "start",
            120.0,
            source=entry.source,
            device="cpu",
            dtype="float32",
            threads=1,
            variant=entry.variants[0],
            workload=msgspec.to_builtins(WORKLOAD),
            plant=fault,
            memory_headroom=None,
            precision=precision,
        )
        return Started(worker, started["facts"], tmp_path)

    yield start
    for worker in workers:
        worker.end(grace_s=0)


@pytest.mark.parametrize("name", list(BACKENDS))
def test_strict_rounds_nothing(name, start):
    if missing(name):
        pytest.skip(missing(name))
    started = start(name, "strict")
    for product, (got, want) in started.products().items():
        assert np.array_equal(got, want), product
    assert any(fact.startswith("precision:") for fact in started.facts)


@pytest.mark.parametrize("name", ["numpy", "jax"])
def test_a_profile_that_a_framework_lacks_makes_it_unavailable(name, start):
    if missing(name):
        pytest.skip(missing(name))
    with pytest.raises(WorkerUnavailable, match=f"{name} has no tf32 products on cpu"):
        start(name, "tf32")


@needs("torch")
@pytest.mark.parametrize(("precision", "mode"), [("bfloat16", "bf16"), ("tf32", "tf32")])
def test_torch_says_what_is_set_and_the_probe_whether_it_is_in_force(precision, mode, start):
    started = start("torch", precision)
    assert started.facts["precision:mkldnn.matmul"] == mode
    assert started.facts["precision:cuda.matmul"] == "ieee"
    reason = not_in_force(precision, started.products())
    if reason is None:
        for product, (got, want) in started.products(precision).items():
            assert np.array_equal(got, want), product
    else:
        assert f"{precision} is set and not in force on this hardware: 0%" in reason


@needs("torch")
@pytest.mark.parametrize("precision", REDUCED)
def test_products_rounded_in_torch_are_in_force_and_exact_where_they_must_be(precision, start):
    started = start("torch", precision, plant("precision.py", f"{precision}_products"))
    assert not_in_force(precision, started.products()) is None
    for product, (got, want) in started.products(precision).items():
        assert np.array_equal(got, want), product
