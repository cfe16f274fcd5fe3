"""Limits that a batch's own rounding sets, and roundings told by their very error."""

from __future__ import annotations

import gzip
import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from harness.explain import search
from harness.explain.seen import Seen
from harness.interface import Array, State
from harness.measure import ladder, straying
from harness.measure.ladder import Wanted
from harness.plan.make import missing
from harness.verdict.numbers import limit_of, share, within
from harness.workloads import NETS, WORKLOADS
from harness.workloads.declare import declare
from harness.workloads.reference import canonical, noise
from harness.workloads.reference.composed import Composed, cast
from harness.workloads.reference.limits import LIMITS, ROOM, Limit, limit_for
from harness.workloads.reference.losses import Quadratic, SoftmaxCrossEntropy
from harness.workloads.reference.noise import with_fewer_bits
from harness.workloads.reference.optimisers import sgd
from harness.workloads.reference.pieces import Dense, Sigmoid, Tanh
from tests.conftest import plant, write_gz
from tests.make import measurement

WORKLOAD, REFERENCE = WORKLOADS["mlp-scratch"], Composed(NETS["mlp-scratch"])
LOSS = ("loss", "loss")
CROSS_ENTROPY = SoftmaxCrossEntropy()
AT = {"process": "float32", "case": "step 0", "step": 0}


def batch(n: int = 256) -> tuple[State, State]:
    rng = np.random.default_rng(3)
    state = cast(canonical.initial_state(WORKLOAD, 0))
    state["W2"] *= 30  # logits of some size
    return state, {"x": rng.random((n, 784), dtype=np.float32), "y": rng.integers(0, 10, n)}


def sure(gap: float, n: int = 256) -> tuple[State, State]:
    """One sample again and again, right by so many nats."""
    state, given = batch(n)
    logits = REFERENCE.outputs(state, {"x": given["x"][:1].astype(np.float64)})[0]
    state["b2"] = -logits
    state["b2"][9] += gap
    return state, {"x": np.repeat(given["x"][:1], n, axis=0), "y": np.full(n, 9)}


@pytest.mark.parametrize("up", [True, False])
def test_the_textbook_loss_is_the_same_function(up: bool) -> None:
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(200, 10)) * 3, rng.integers(0, 10, 200)
    want_loss, want_grad = CROSS_ENTROPY(logits, y)
    loss, grad = CROSS_ENTROPY.textbook(logits, y, up)
    assert abs(loss - want_loss) < 1e-14 * want_loss
    assert np.abs(grad - want_grad).max() < 1e-15


def test_the_two_textbook_losses_lie_two_last_places_apart_and_alike_for_alike_samples() -> None:
    logits = np.zeros((8, 10), np.float32)
    logits[:, 9] = 7
    y = np.full(8, 9)
    either = [CROSS_ENTROPY.textbook(logits, y, up) for up in (True, False)]
    apart = abs(either[0][0] - either[1][0])
    assert apart == pytest.approx(2 * np.spacing(np.float32(1)), rel=0.1)
    for _, grad in either:
        assert (grad == grad[0]).all()


def test_noise_is_far_below_the_limits_of_an_ordinary_batch_and_sets_that_of_a_sure_one() -> None:
    for place, distance in straying.find_noise(REFERENCE, WORKLOAD, *batch(), False).items():
        limit = limit_for(place[0], "float32", "step 0", noise=distance)
        assert limit in LIMITS, place
    found = straying.find_noise(REFERENCE, WORKLOAD, *sure(7.2), False)
    limit = limit_for("loss", "float32", "step 0", noise=found[LOSS])
    assert limit is not None
    assert limit.value == ROOM * found[LOSS] > 5e-5
    assert "on this very batch; 5e-6, the limit of other batches" in limit.reason


def test_noise_grows_as_the_loss_shrinks() -> None:
    sizes = [
        straying.find_noise(REFERENCE, WORKLOAD, *sure(gap), False)[LOSS] for gap in (1, 3, 5, 7, 9)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 100 * sizes[0]


def test_noise_that_is_not_finite_is_none() -> None:
    state, given = batch(8)
    state["W1"][:] = 1e38
    with np.errstate(all="ignore"):
        assert LOSS not in straying.find_noise(REFERENCE, WORKLOAD, state, given, False)


def test_float64_is_granted_its_own_rounding_only() -> None:
    found = straying.find_noise(REFERENCE, WORKLOAD, *sure(7.2), False)
    of = [measurement("loss", tensor="loss", dtype=dtype) for dtype in ("float32", "float64")]
    other = measurement("inputs", tensor="x")
    straying.grant([*of, other], found)
    assert [m.noise for m in of] == [found[LOSS], found[LOSS] * 2.0**-29]
    assert other.noise is None


def test_a_stored_measurement_is_held_to_its_own_noise() -> None:
    m = measurement("loss", tensor="loss", distance=4e-5)
    assert share(m, limit_of(m, "strict")) == pytest.approx(8)
    m.noise = 2e-5
    assert share(m, limit_of(m, "strict")) == pytest.approx(2 / 3)
    own = (Limit("loss", "*", "*", 1e-9, "mine", "–"), *LIMITS)
    assert limit_of(m, "strict", own).value == 1e-9  # given with --limits: as it is given


@pytest.mark.parametrize("rounding", noise.ROUNDINGS)
@pytest.mark.parametrize("place", [0, 1, 4, 5])
def test_a_rounding_is_named_by_its_very_error_and_no_other_error_is(
    rounding: str, place: int
) -> None:
    wanted = Wanted.of(REFERENCE, WORKLOAD, *batch(64), "float32")
    planted, (bits, nearest) = REFERENCE, noise.ROUNDINGS[rounding]
    for product in range(5) if place == 5 else [place]:
        planted = planted.rounded(product, partial(with_fewer_bits, bits=bits, nearest=nearest))
    said = wanted.instead(planted)
    tensors = answer(wanted, said.outputs, said.loss, said.grads)
    looked = seen(tensors, wanted)
    rung = "operands" if looked.rung == "forward" else "back"
    named = {part.hypothesis.id for found in search.find(looked) for part in found}
    kind = rounding.lower().replace(", ", "-")
    # float16 has TF32's digits where nothing is very small.
    assert {f"{rung}-{kind}"} <= named <= {f"{rung}-{kind}", f"{rung}-float16"}


@pytest.mark.parametrize("size", [1e-4, 5e-4, 3e-3])
def test_an_error_of_that_size_that_no_rounding_makes_is_named_after_none(size: float) -> None:
    """A size is no cause: tanh in place of erf in a GELU is off by as much as TF32."""
    wanted = Wanted.of(REFERENCE, WORKLOAD, *batch(64), "float32")
    rng = np.random.default_rng(1)

    def off(value: np.ndarray) -> np.ndarray:
        return value * (1 + size * rng.standard_normal(value.shape))

    grads = {name: off(grad) for name, grad in wanted.grads.items()}
    tensors = answer(wanted, off(wanted.outputs), wanted.loss, grads)
    looked = seen(tensors, wanted)
    assert looked.off
    assert search.find(looked) == []


def seen(tensors: State, wanted: Wanted) -> Seen:
    measurements = ladder.teacher_forced(tensors, wanted, **AT)
    limited = [(m, limit) for m in measurements if (limit := limit_of(m, "strict")) is not None]
    every = [(m, limit.value, within(m, limit)) for m, limit in limited]
    return Seen.of(REFERENCE, wanted, tensors, every)


def answer(wanted: Wanted, outputs: Array, loss: float, grads: State) -> State:
    """What a float32 worker would write of this."""
    lr = WORKLOAD.optimiser.lr
    held = {f"held.{name}": value for name, value in wanted.state.items()}
    new = {
        f"new.{name}": (wanted.state[name] - lr * grads[name]).astype(np.float32) for name in grads
    }
    written = {f"grad.{name}": grad.astype(np.float32) for name, grad in grads.items()} | new | held
    both = {"loss": np.array(loss), "step loss": np.array(loss)}
    return written | both | {"outputs": outputs.astype(np.float32)} | wanted.batch


@pytest.fixture
def one_image(tmp_path: Path, small_data: Path) -> Path:
    """Training data of one image 2 000 times, in a folder of idx files; the test set as it was."""
    folder = tmp_path / "one-image"
    folder.mkdir()
    for name, head, kept in (
        ("train-images-idx3-ubyte.gz", 16, 784),
        ("train-labels-idx1-ubyte.gz", 8, 1),
    ):
        data = gzip.decompress((small_data / name).read_bytes())
        start = data[:4] + struct.pack(">I", 2000) + data[8:head]
        write_gz(folder / name, start + data[head : head + kept] * 2000)
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (folder / name).write_bytes((small_data / name).read_bytes())
    return folder


def test_correct_backends_agree_where_the_model_is_sure(run_plan, one_image) -> None:
    # The one whose loss the judge takes as it is, and the one that strays furthest there.
    names = tuple(name for name in ("numpy", "jax") if not missing(name))
    made = run_plan(backends=names, data_dir=str(one_image))
    assert made.verdict.verdict == "agree"
    for name in names:
        findings = made.verdict.labels[name].findings
        assert {findings[rung].verdict for rung in ("loss", "gradients")} == {"agree"}, name
    every = [m for name in names for m in made.record.results[name].measurements if m.noise]
    assert any(limit_of(m, "strict") not in LIMITS for m in every)  # one was beyond the table's


def test_a_wrong_learning_rate_is_caught_there_too(run_plan, one_image) -> None:
    plants = {"numpy": plant("numbers.py", "lr_one_per_mille")}
    judged = run_plan(backends=("numpy",), data_dir=str(one_image), plants=plants).verdict
    assert judged.labels["numpy"].findings["update"].verdict == "disagree"
    assert judged.verdict == "disagree"


@pytest.mark.parametrize("piece", [Sigmoid(), Tanh()])
def test_where_a_unit_is_saturated_its_noise_is_that_of_the_formula_that_cancels(
    piece: Sigmoid | Tanh,
) -> None:
    """1 - a has no more digits than a: correct float32 is off by 1.6e-6 where a is .98."""
    saturated = declare(
        "one",
        *(Dense("w", "b", 1, 1), piece),
        loss=Quadratic(),
        optimiser=sgd(0.1),
        init=lambda _: ("values", (2.0,)),
        x=(1,),
        data="one-to-zero",
        batch_size=1,
        epochs=1,
    )
    state = canonical.initial_state(saturated.workload, 0)
    batch = {"x": np.ones((1, 1), np.float32), "y": np.zeros((1, 1), np.float32)}
    found = straying.find_noise(Composed(saturated.net), saturated.workload, state, batch, False)
    a = {"Sigmoid": lambda z: 1 / (1 + np.exp(-z)), "Tanh": np.tanh}[type(piece).__name__](4.0)
    # A unit in the last place of a, over 1 - a.
    cancelled = 2.0**-24 * a / (1 - a)
    assert 0.3 * cancelled < found["gradients", "w"] < 3 * cancelled
    assert found["forward", "outputs"] < 3e-7
