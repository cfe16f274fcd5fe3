"""What holds of any model: replicas, own errors, slots, noise; and every declared field counts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from backends.numpy import Backend
from harness import data
from harness.errors import InputError
from harness.interface import Array, Optimiser, Outcome, State, Tensor, Workload
from harness.measure import ladder
from harness.measure.distance import excess_update, relative
from harness.measure.ladder import Wanted
from harness.plan import make as planning
from harness.plan.choices import Choices
from harness.record.schema import Measurement
from harness.run.inputs import Inputs
from harness.run.session import load_dataset
from harness.tensors import save_tensors
from harness.verdict.verdict import judge
from harness.workers.desks.training import TrainingDesk
from harness.workers.looks import Looks
from harness.workloads import NETS, WORKLOADS, corners, known
from harness.workloads.declare import Declared, declare, fan_in_uniform
from harness.workloads.mlp_scratch import sized
from harness.workloads.reference import canonical
from harness.workloads.reference.composed import Composed, Net, cast
from harness.workloads.reference.envelope import Replica
from harness.workloads.reference.limits import limit_for
from harness.workloads.reference.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy
from harness.workloads.reference.optimisers import adam, momentum, moved, sgd, stepped
from harness.workloads.reference.pieces import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Relu,
    Residual,
    Sigmoid,
    Tanh,
)
from tests import make
from tests.conftest import Silent
from tests.make import make_plan

WHERE: dict[str, Any] = {"process": "float32", "case": "step 0", "step": 0}


def declared(*layers: Layer, x: tuple[int, ...], optimiser: Optimiser | None = None) -> Declared:
    return declare(
        "small",
        *layers,
        loss=SoftmaxCrossEntropy(),
        optimiser=optimiser or sgd(lr=0.1),
        init=fan_in_uniform,
        x=x,
        data="none",
        batch_size=16,
        epochs=3,
    )


CONV = declared(
    Conv("K1", "c1", 2, 3, 3),
    Relu(),
    MaxPool(2),
    Flatten(),
    Dense("W1", "b1", 12, 5),
    Tanh(),
    Dense("W2", "b2", 5, 3),
    x=(6, 6, 2),
)
SIX = declared(
    Dense("W1", "b1", 12, 11),
    Relu(),
    Dense("W2", "b2", 11, 10),
    Tanh(),
    Dense("W3", "b3", 10, 9),
    Sigmoid(),
    Dense("W4", "b4", 9, 8),
    Tanh(),
    Dense("W5", "b5", 8, 7),
    Relu(),
    Dense("W6", "b6", 7, 3),
    x=(12,),
)


def batch_of(workload: Workload, n: int = 16, dtype: str = "float64") -> State:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, *workload.x)).astype(dtype)
    return {"x": x, "y": rng.integers(0, 3, n)}


# -- replicas ------------------------------------------------------------------------------------


def apart(workload: Workload) -> float:
    """How far outputs and gradients of a permuted replica are from the judge's, at most."""
    judge_, replica = Composed(CONV.net), Replica(workload, 0, 1)
    state = cast(canonical.initial_state(CONV.workload, 0))
    batch = batch_of(workload)
    samples = replica.samples(16)
    want = judge_.look(state, batch)
    found = judge_.look(replica.permuted(state), replica.batch(batch, samples))
    grads = replica.restored(found.grads)
    return max(
        relative(found.outputs - want.outputs[samples], want.outputs),
        *(relative(grads[name] - grad, grad) for name, grad in want.grads.items()),
    )


PERMUTED = [
    (place, axis)
    for place, tensor in enumerate(CONV.workload.tensors)
    for axis, counted in enumerate(tensor.axes)
    if counted.rpartition("*")[2].startswith("units")
]


def test_a_replica_of_a_conv_net_computes_the_same_with_units_in_blocks_permuted() -> None:
    axes = {tensor.name: tensor.axes for tensor in CONV.workload.tensors}
    assert axes["W1"] == ("4*units1", "units2")
    orders = Replica(CONV.workload, 0, 1).orders
    assert {name: len(order) for name, order in orders.items()} == {
        "inputs": 2,
        "units1": 3,
        "units2": 5,
    }
    assert apart(CONV.workload) < 1e-13


@pytest.mark.parametrize(("place", "axis"), PERMUTED)
def test_one_axis_that_is_left_as_it_is_computes_something_else(place: int, axis: int) -> None:
    tensors = [*CONV.workload.tensors]
    axes = [*tensors[place].axes]
    axes[axis] = ""
    tensors[place] = msgspec.structs.replace(tensors[place], axes=tuple(axes))
    assert apart(msgspec.structs.replace(CONV.workload, tensors=tuple(tensors))) > 1e-3


# -- own errors ----------------------------------------------------------------------------------


def share_of(m: Measurement) -> float:
    """Of its limit."""
    limit = limit_for(m.rung, m.dtype, m.case)
    assert limit is not None
    assert m.problem is None
    assert isinstance(m.distance, float)
    if limit.value == 0:
        return 0.0 if m.distance == 0 else math.inf
    return m.distance / limit.value


def test_a_wrong_layer_in_the_middle_is_named_by_its_own_error() -> None:
    """Everything behind it differs too, and adds nothing of its own."""
    workload, judge_ = SIX.workload, Composed(SIX.net)
    state = canonical.initial_state(workload, 0)
    batch = batch_of(workload, dtype="float32")
    wanted = Wanted.of(judge_, workload, state, batch, "float32")
    for wrong in (None, "z3", "h4"):
        tensors, shown = {}, {}
        for name in workload.trace:  # a float32 framework, layer by layer
            made = judge_.own(cast(state), cast(batch), shown)[name]
            made = made * 1.001 if name == wrong else made
            tensors[f"trace.{name}"] = made.astype(np.float32)
            shown[name] = tensors[f"trace.{name}"].astype(float)
        found = ladder.own_errors(tensors, wanted, judge_, WHERE)
        assert [m.tensor for m in found] == [f"{name}, own error" for name in workload.trace]
        shares = {m.tensor.partition(",")[0]: share_of(m) for m in found}
        assert all(share < 1 / 3 for name, share in shares.items() if name != wrong)
        if wrong is not None:
            assert shares[wrong] > 3
            behind = found[workload.trace.index(wrong) :]
            assert all(m.beside["reference"] > 5e-6 for m in behind)


# -- update --------------------------------------------------------------------------------------


def made_update(optimiser: Optimiser) -> tuple[Wanted, State, State]:
    """What is wanted of a step in the middle of a training, a state and a right float32 answer."""
    small = declared(Dense("W1", "b1", 8, 6), Tanh(), Dense("W2", "b2", 6, 3), x=(8,),
                     optimiser=optimiser)  # fmt: skip
    rng = np.random.default_rng(2)
    state = {
        t.name: rng.random(t.shape).astype(np.float32) * np.float32(0.1)
        for t in small.workload.tensors
    }
    if "step" in state:
        state["step"] = np.float32(7)
    wanted = Wanted.of(
        Composed(small.net), small.workload, state, batch_of(small.workload), "float32"
    )
    return wanted, wanted.state, answered(wanted, wanted.grads)


def answered(wanted: Wanted, grads: State, optimiser: Optimiser | None = None) -> State:
    """What a float32 worker writes that found these gradients."""
    rule = optimiser or wanted.workload.optimiser
    new = cast(stepped(rule, cast(wanted.state), grads), "float32")
    tensors = {"outputs": wanted.outputs.astype(np.float32)} | wanted.batch
    tensors |= dict.fromkeys(("loss", "step loss"), np.array(wanted.loss))
    for prefix, of in (("held", wanted.state), ("grad", cast(grads, "float32")), ("new", new)):
        tensors |= {f"{prefix}.{name}": value for name, value in of.items()}
    return tensors


def over(tensors: State, wanted: Wanted) -> set[tuple[str, str]]:
    found = ladder.teacher_forced(tensors, wanted, **WHERE)
    assert {m.tensor for m in found if m.rung == "update"} == {*wanted.state}
    return {(m.rung, m.tensor) for m in found if share_of(m) > 1}


@pytest.mark.parametrize(
    ("optimiser", "slot", "not_decayed"),
    [
        (momentum(lr=0.1), "velocity", lambda slot, grad: slot + grad),
        (adam(lr=0.1), "m", lambda slot, grad: slot + 0.1 * grad),
        (adam(lr=0.1), "v", lambda slot, grad: slot + 0.001 * grad**2),
    ],
)
def test_every_slot_enters_the_rung_update(
    optimiser: Optimiser, slot: str, not_decayed: Any
) -> None:
    wanted, state, tensors = made_update(optimiser)
    assert over(tensors, wanted) == set()
    name = f"W1/{slot}"
    kept = not_decayed(cast(state)[name], wanted.grads["W1"]).astype(np.float32)
    assert over(tensors | {f"new.{name}": kept}, wanted) == {("update", name)}
    if "step" in state:
        assert over(tensors | {"new.step": state["step"]}, wanted) == {("update", "step")}


def test_elements_of_a_tiny_gradient_may_go_adams_other_way_and_a_wrong_rate_is_found() -> None:
    """At the first step Adam moves by lr, whatever the size: rounding decides the direction."""
    small = declared(Dense("W", "", 40, 3), x=(40,), optimiser=adam(lr=0.01))
    rng = np.random.default_rng(3)
    state = canonical.initial_state(small.workload, 0)
    asked = small.workload, state, batch_of(small.workload), "float32"
    wanted = Wanted.of(Composed(small.net), *asked)
    grad = rng.standard_normal((40, 3))
    grad[::2] *= 1e-9
    changes, after = moved(small.workload.optimiser, cast(wanted.state), {"W": grad})
    wanted = replace(wanted, grads={"W": grad}, changes=changes, after=after)
    rounded = grad + 1e-7 * rng.standard_normal(grad.shape)
    right = answered(wanted, {"W": rounded})
    # Without what the gradient's limit leaves open it would be called wrong.
    strict = excess_update(wanted.state["W"], changes["W"])(right["new.W"], changes["W"])
    assert relative(strict.judged, strict.base) > 0.1
    assert ("update", "W") not in over(right, wanted)
    wrong = answered(wanted, {"W": rounded}, adam(lr=0.01 * 1.001))
    assert ("update", "W") in over(wrong, wanted)


# -- batches -------------------------------------------------------------------------------------


def test_a_workload_of_whole_batches_takes_the_rows_in_file_order(tmp_path: Path) -> None:
    plan = make_plan("diabetes", backends=("numpy",), dataset="synthetic")
    plan, dataset = load_dataset(plan, Silent())
    inputs, n = Inputs(plan, dataset, tmp_path), len(dataset.train_x)
    assert plan.batch_size == n
    assert len(inputs.slots) == plan.workload.epochs == len(inputs.order)
    for rows in inputs.schedule("schedule", 0):
        assert rows.tolist() == [*range(n)]
    assert canonical.epoch_order(0, 0, n, n - 1).tolist() != [*range(n)]


NOISY = declared(
    Dense("W1", "b1", 8, 6), Relu(), Dropout("drop", 0.5), Dense("W2", "b2", 6, 3), x=(8,)
)


def test_noise_is_drawn_by_seed_and_step_alike_in_worker_and_judge(tmp_path: Path) -> None:
    (tensor,) = NOISY.workload.noise
    want = np.random.default_rng([5, 3, 2]).random((4, *tensor.shape)).astype(np.float32)
    desk = TrainingDesk(0, lambda done, total: None)
    desk._workload, desk._dtype = NOISY.workload, "float32"
    desk._x, desk._y = np.zeros((9, 8), np.float32), np.zeros(9, np.int64)
    file = str(tmp_path / "schedule")
    order, slots = np.arange(9)[None], np.array([[0, 0, 4]] * 3)
    save_tensors(file, {"order": order, "slots": slots, "seed": np.array(5)})
    inputs = Inputs.__new__(Inputs)
    inputs.plan = msgspec.structs.replace(make.plan(), workload=NOISY.workload)
    inputs.x, inputs.y = desk._x, desk._y
    rows = np.array([3, 1, 4, 8])
    for batch in (desk._gather(file, 2, rows), inputs.batch(rows, 5, 2)):
        assert batch["drop"].tobytes() == want.tobytes()
    for seed, step in ((5, 1), (4, 2)):
        assert inputs.batch(rows, seed, step)["drop"].tobytes() != want.tobytes()


# -- every declared field ------------------------------------------------------------------------

BASE = sized()
W = BASE.workload
NOISE = Tensor("drop", (4,))
LOOSE = (Outcome("test accuracy", margin=0.5), Outcome("training loss", margin=0.5))


def stages(workload: Workload, folder: Path, scratch: Path) -> Iterator[tuple[str, Any]]:
    """What each part of the harness makes of a workload: numbers, names, or a refusal."""

    def said(make_: Any) -> Any:
        try:
            return make_()
        except (ValueError, InputError) as error:
            return str(error)

    planned = said(lambda: planning.make_plan(Choices(backends=("numpy",)), workload, BASE.net))
    yield "plan", planned if isinstance(planned, str) else (planned.steps, planned.trajectory)
    plan = msgspec.structs.replace(make_plan(backends=("numpy",)), workload=workload)
    dataset = said(lambda: data.of_workload(workload, data_dir=folder, warn=print))
    yield "known", known(workload)
    yield "data", dataset if isinstance(dataset, str) else dataset.name
    if not isinstance(dataset, str):
        inputs = said(lambda: Inputs(plan, dataset, scratch))
        if isinstance(inputs, str):
            yield "inputs", inputs
        else:
            yield "x", inputs.x[:5].tobytes()
            yield "schedule", inputs.slots
            yield "tests", (inputs.tests, len(inputs.test_x), len(inputs.test_y))
            yield "start", {n: canonical.digest(v) for n, v in inputs.initial(0).items()}
            yield "batch", [*inputs.batch(np.arange(5), 0, 0)]
            inputs.plan = msgspec.structs.replace(plan, screen_margin=1e9)  # every sample is near
            at = 0, canonical.initial_state(W, 0), Composed(BASE.net)
            yield "near kinks", said(lambda: inputs.screened(*at)[0].tolist())
    yield "trained", said(lambda: trained(workload))
    judge_ = Composed(BASE.net)
    state = canonical.initial_state(W, 0)
    batch = {"x": np.ones((5, 784), np.float32), "y": np.arange(5)}
    looks = Looks(workload, np.array([5]))
    looks.at_gradients(lambda: judge_.look(cast(state), cast(batch)).grads)
    yield "looks", sorted(looks.series())
    yield "forward", ladder.asked(Wanted.of(judge_, workload, state, batch, "float32"))[0].tensor
    yield "products", workload.floor
    yield "replicas", [*Replica(workload, 0, 1).orders]
    record = make.record(("numpy",))
    record.plan = msgspec.structs.replace(record.plan, workload=workload, seeds=(0, 1, 2, 3, 4))
    record.reference = [make.training(seed=s, dtype="float64") for s in range(5)]
    off = [0.7, 0.83, 0.84, 0.75]
    record.results["numpy"].training = [make.training(seed=s, test_accuracy=off) for s in range(5)]
    make.evaluated(record.results["numpy"])
    yield "verdict", judge(record).labels["numpy"].findings["accuracy"].verdict


def trained(workload: Workload) -> dict[str, str]:
    """The state after a step of the NumPy backend."""
    trainer = Backend("cpu", "float64", 1, "plain").trainer(workload)
    trainer.set_state(cast(canonical.initial_state(workload, 0)))
    rng = np.random.default_rng(0)
    batch: State = {"x": rng.random((5, 784)), "y": np.arange(5)}
    trainer.wait(trainer.step(trainer.put(batch)))
    return {name: canonical.digest(value) for name, value in trainer.get_state().items()}


FIELDS: dict[str, tuple[Any, str]] = {
    "name": ("other", "known"),
    "model": ("no-such-model", "trained"),
    "sizes": (W.sizes | {"num_hiddens": 5}, "trained"),
    "tensors": ((msgspec.structs.replace(W.tensors[0], scale=1.0), *W.tensors[1:]), "start"),
    "trace": ((*W.trace[:-1], "outputs"), "forward"),
    "x": ((28, 27), "data"),
    "y": ("number", "data"),
    "outputs": ((9,), "data"),
    "loss": ("hinge", "trained"),
    "optimiser": (sgd(lr=0.2), "trained"),
    "batch_size": (50, "schedule"),
    "epochs": (3, "schedule"),
    "data": ("mnist", "data"),
    "normalise": ((0.5, 0.5), "x"),
    "validation": (5, "schedule"),
    "gradients_of": (5, "looks"),
    "steps": (3, "plan"),
    "tests": (2, "tests"),
    "noise": ((NOISE,), "batch"),
    "products": (W.products[:2], "products"),
    "symmetries": (("inputs",), "replicas"),
    "outcome": (LOOSE, "verdict"),
    "limits": ("measured", "near kinks"),
}


def test_every_field_has_its_line() -> None:
    assert [*FIELDS] == [field.name for field in msgspec.structs.fields(Workload)]


@pytest.mark.parametrize("field", FIELDS)
def test_every_declared_field_is_read_by_something(
    field: str, small_data: Path, tmp_path: Path
) -> None:
    value, where = FIELDS[field]
    changed = msgspec.structs.replace(W, **{field: value})
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    own = dict(stages(W, small_data, tmp_path / "one"))
    other = dict(stages(changed, small_data, tmp_path / "other"))
    assert other[where] != own[where]


# -- what is evaluated ---------------------------------------------------------------------------


def test_of_convolutions_cut_short_few_samples_are_evaluated_and_all_are_known(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (12_500, 28, 28), np.uint8), rng.integers(0, 10, 12_500)
    tests = rng.integers(0, 256, (1_500, 28, 28), np.uint8), rng.integers(0, 10, 1_500)
    dataset = data.Dataset("mnist", False, "", "", x, y, *tests, ())
    of = {name: WORKLOADS[name] for name in ("nielsen-conv-1", "nielsen-network")}
    for name, steps, want in (
        ("nielsen-conv-1", 30, (1000, 2000)),
        ("nielsen-conv-1", None, (1500, 11_500)),
        ("nielsen-network", 30, (1500, 11_500)),
    ):
        plan = msgspec.structs.replace(
            make_plan(backends=("numpy",)), workload=of[name], steps=steps
        )
        folder = tmp_path / f"{name}-{steps}"
        folder.mkdir()
        inputs = Inputs(plan, dataset, folder)
        assert (inputs.tests, len(inputs.test_x)) == want
        assert len(inputs.x) == 2500
        held_out = data.prepared(x[2500 : 2500 + want[1] - want[0]], of[name].x, None)
        assert np.array_equal(inputs.test_x[inputs.tests :], held_out)
        assert np.array_equal(inputs.test_y[: inputs.tests], tests[1][: want[0]])
        whole = [data.prepared(images, of[name].x, None) for images in (x, tests[0])]
        assert all(map(np.array_equal, inputs.sets(dataset), whole))


# -- made batches, and a start without kinks -----------------------------------------------------


def test_a_net_whose_last_layer_starts_at_0_answers_in_made_batches() -> None:
    """Else no output and no gradient below would depend on what came in."""
    made = WORKLOADS["nielsen-conv-0"]
    judge_, state = Composed(NETS[made.name]), canonical.initial_state(made, 0)
    rng = np.random.default_rng(0)
    pool = {"x": rng.random((160, 784)).astype(np.float32), "y": rng.integers(0, 10, 160)}
    assert not state["W2"].any()
    found = corners.probes(
        judge_, made, state, pool, lambda _, batch: np.full(len(batch["x"]), True)
    )
    assert {probe.case for probe in found} == {"corner", "confident", "shifted-up", "shifted-down"}
    for probe in found:
        look = judge_.look(cast(probe.state), cast(probe.batch))
        assert np.isfinite(look.loss)
        assert all(np.linalg.norm(grad) > 0 for grad in look.grads.values()), probe.case
    kept = state | {"W2": np.ones((100, 10), np.float32)}
    other = corners.probes(
        judge_, made, kept, pool, lambda _, batch: np.full(len(batch["x"]), True)
    )
    assert np.array_equal(other[0].state["W2"], kept["W2"])


NORM = BatchNorm("g", "n", "m", "v", 5)
BODIES: tuple[tuple[Layer, ...], ...] = (
    (Dense("W2", "b2", 8, 3),),
    (Dense("W1", "b1", 8, 5), Tanh(), Dense("W2", "b2", 5, 3)),
    (Dense("W1", "", 8, 5), NORM, Relu(), Dense("W2", "b2", 5, 3)),
)


def by_hand(loss: Any, z: Array, y: Array, least: float) -> float:
    """The mean loss as it stands in a textbook, with probabilities no smaller than `least`."""
    if isinstance(loss, SoftmaxCrossEntropy):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return float(-np.log(np.maximum(p[np.arange(len(y)), y], least)).mean())
    if y.ndim == 1:
        y = np.eye(z.shape[1])[y]
    # The second is what 1 - p is but for its rounding.
    log_p, log_q = (np.log(np.maximum(1 / (1 + np.exp(one)), least)) for one in (-z, z))
    return float(-(y * log_p + (1 - y) * log_q).sum(axis=1).mean())


@pytest.mark.parametrize("layers", BODIES, ids=["alone", "tanh", "normed"])
@pytest.mark.parametrize(
    "loss", [SoftmaxCrossEntropy(), SigmoidCrossEntropy(), SigmoidCrossEntropy("class")]
)
def test_any_net_that_ends_in_probabilities_is_made_sure_and_wrong(loss, layers) -> None:
    """Only there a clipped logarithm shows, and one of a probability that rounds to 0."""
    made = declare(
        *("sure", *layers),
        loss=loss,
        optimiser=sgd(0.1),
        init=fan_in_uniform,
        x=(8,),
        data="made.npz",
        batch_size=16,
        epochs=1,
    )
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 2, (160, 3)).astype(np.float32)
    y = rng.integers(0, 3, 160) if loss.targets == "class" else numbers
    pool = {"x": rng.random((160, 8)).astype(np.float32), "y": y}
    state = canonical.initial_state(made.workload, 0)
    judge_ = Composed(made.net)
    found = corners.probes(
        judge_, made.workload, state, pool, lambda _, batch: np.full(len(batch["x"]), True)
    )
    (probe,) = (one for one in found if one.case == "confident")
    assert (probe.batch["y"].shape[1:], probe.batch["y"].dtype) == (y.shape[1:], y.dtype)
    look = judge_.look(cast(probe.state), cast(probe.batch))
    z, y = look.outputs, probe.batch["y"]
    # The judge's own is the textbook's without a clip, and no clip goes unseen.
    assert look.loss == pytest.approx(by_hand(loss, z, y, 0.0), rel=1e-12)
    for least in (1e-7, 1e-15, 1e-25):
        assert by_hand(loss, z, y, least) < 0.95 * look.loss
    # In float32 the one of two probabilities that is left rounds to 0.
    assert (1 - 1 / (1 + np.exp(-z.astype(np.float32))) == 0).any()
    # Of several sigmoids some are nearly 0, whose logarithm is the other one.
    assert isinstance(loss, SoftmaxCrossEntropy) or (z.min() < -60 and z.max() > 60)
    # Some are right, which a wrong sign would not be.
    losses = made.net.loss.of_samples(z, y)
    assert losses.max() > 60
    assert isinstance(loss, SigmoidCrossEntropy) or losses.min() < 1e-11


@pytest.mark.parametrize(
    ("layers", "kinked", "couples"),
    [
        ((Dense("W1", "b1", 8, 5), Relu(), Dense("W2", "b2", 5, 3)), True, False),
        ((Dense("W1", "b1", 8, 5), Sigmoid(), Dense("W2", "b2", 5, 3)), False, False),
        ((Dense("W1", "", 8, 5), NORM, Relu(), Dense("W2", "b2", 5, 3)), True, True),
        ((Residual((Dense("W1", "", 8, 8), Relu())), Dense("W2", "b2", 8, 3)), True, False),
    ],
)
def test_a_judge_knows_whether_its_net_has_kinks_and_couples_samples(
    layers: tuple[Layer, ...], kinked: bool, couples: bool
) -> None:
    found = Composed(Net((8,), layers, SoftmaxCrossEntropy()))
    assert (found.kinked, found.couples) == (kinked, couples)
