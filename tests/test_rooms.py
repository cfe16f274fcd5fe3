"""The rooms of the four frameworks against the composed judge, in processes of their own."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.interface import Optimiser, Tensor, Workload
from harness.workloads import DEFAULT, NETS, WORKLOADS
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference import optimisers
from harness.workloads.reference.canonical import initial_state
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Flatten, Sigmoid
from tests.conftest import needs
from tests.make import LIGHT
from tests.served import Served, narrow

# The default first.
VARIANTS = {
    "numpy": ("buffered", "plain"),
    "torch": ("eager", "compile"),
    "jax": ("jit", "scan"),
    "tensorflow": ("xla", "graph", "eager"),
}
LIMITS = {"float64": 1e-13, "float32": 1e-5}


def form(framework: str, *words: str):
    """A parameter that is skipped where the framework is not here."""
    missing = not importlib.util.find_spec(framework)
    return pytest.param(
        framework, *words, marks=pytest.mark.skipif(missing, reason=f"no {framework}")
    )


FRAMEWORKS = [form(name) for name in VARIANTS]
FORMS = [form(name, variant) for name, variants in VARIANTS.items() for variant in variants]

# A user's files of models, and what makes a wrong one of a framework's tiny.py.
ROOMS = Path(__file__).parent / "rooms"
LESS = ('"b2": (', '"b3": (')
TURNED = dict.fromkeys(VARIANTS, ("(1, 0)", "(0, 1)"))
TURNED["jax"] = ('"Dense_0.kernel",', '"Dense_0.kernel", (1, 0)')
OFF = {
    "torch": ("F.cross_entropy(Y_hat, y)", "F.cross_entropy(Y_hat, y) * (1 + 1e-9)"),
    "jax": (").mean()", ").mean() * (1 + 1e-9)"),
}


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """serve(framework, dtype): one process each, with a user's folder of rooms."""
    folder = tmp_path_factory.mktemp("user") / "rooms"
    shutil.copytree(ROOMS, folder)
    for framework in VARIANTS:
        changes = {"less": LESS, "turned": TURNED[framework]}
        changes |= {"off": OFF[framework]} if framework in OFF else {}
        right = (folder / framework / "tiny.py").read_text()
        for name, change in changes.items():
            wrong = right.replace(*change)
            assert wrong != right
            (folder / framework / f"{name}.py").write_text(wrong)
    running: dict[tuple[str, str], Served] = {}

    def serve(framework: str, dtype: str = "float64") -> Served:
        if (framework, dtype) not in running:
            running[framework, dtype] = Served(framework, dtype, str(folder))
        return running[framework, dtype]

    yield serve
    for served in running.values():
        served.close()


@pytest.fixture(scope="module")
def train(serve):
    """train(framework, workload, dtype, variant): a trainer in such a process."""

    def train(framework: str, workload: Workload, dtype: str = "float64", variant: str = ""):
        return serve(framework, dtype).trainer(workload, variant or VARIANTS[framework][0])

    return train


def tiny(optimiser: Optimiser, model: str = "tiny"):
    return declare(
        *("tiny", Dense("W1", "b1", 5, 4), Sigmoid(), Dense("W2", "b2", 4, 3)),
        loss=SoftmaxCrossEntropy(),
        optimiser=optimiser,
        init=fan_in_uniform,
        x=(5,),
        data="made",
        batch_size=6,
        epochs=1,
        model=model,
    )


def normed(optimiser: Optimiser) -> Workload:
    shapes = {"W1": (5, 6), "b1": (6,), "gamma": (6,), "beta": (6,), "W2": (6, 3), "b2": (3,)}
    trained = tuple(Tensor(name, shape) for name, shape in shapes.items())
    running = (Tensor("mean", (6,), "running"), Tensor("var", (6,), "running"))
    plain = tiny(optimiser, "normed").workload
    return msgspec.structs.replace(
        plain,
        tensors=(*trained, *running, *optimisers.slots_of(optimiser, trained)),
        noise=(Tensor("U", (6,)),),
        trace=("z1", "n1", "h1", "logits"),
    )


def batch_of(workload: Workload, n: int, dtype: str, seed: int = 7):
    rng = np.random.default_rng([seed, n])
    batch = {"x": rng.random((n, *workload.x)).astype("float32").astype(dtype)}
    if workload.y == "class":
        batch["y"] = rng.integers(0, workload.outputs[0], n)
    elif workload.y == "number":
        batch["y"] = rng.integers(0, 2, (n, *workload.outputs)).astype(dtype)
    return batch | {t.name: rng.random((n, *t.shape)).astype(dtype) for t in workload.noise}


def wide(state):
    """Float64 of it."""
    return {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in state.items()}


def apart(a, b) -> float:
    """The largest distance of two arrays, by the largest value of the second."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    scale = np.abs(b).max()
    return float(np.abs(a - b).max() / (scale if scale > 0 else 1.0))


def farthest(mine, right) -> float:
    assert mine.keys() == right.keys()
    return max(apart(mine[name], right[name]) for name in right)


def same_bits(mine, given) -> bool:
    return {n: (v.dtype, v.shape, v.tobytes()) for n, v in mine.items()} == {
        n: (v.dtype, v.shape, v.tobytes()) for n, v in given.items()
    }


def judged(judge: Composed, optimiser: Optimiser, state, batch):
    """The loss of a step and the state after it."""
    look = judge.look(state, batch)
    return look.loss, optimisers.stepped(optimiser, state, look.grads) | look.running


# The same code computes both dtypes: float64 shows what it is, float32 that it goes through.
IN_FLOAT32 = (DEFAULT, "mnist-mlp", "cifar-net", "nielsen-conv-6", "himmelblau")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, "float64") for name in LIGHT), *((name, "float32") for name in IN_FLOAT32)],
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_workload_computes_what_the_judge_says(train, framework, name, dtype):
    workload, judge, limit = WORKLOADS[name], Composed(NETS[name]), LIMITS[dtype]
    state = {n: v.astype(dtype) for n, v in initial_state(workload, 0).items()}
    batch = batch_of(workload, 5, dtype)
    trainer = train(framework, workload, dtype)
    trainer.set_state(state)
    put = trainer.put(batch)
    look = judge.look(wide(state), wide(batch))
    for training in (True, False):
        outputs = trainer.outputs(put, training=training)
        assert outputs.dtype == dtype
        wanted = look.outputs if training else judge.outputs(wide(state), wide(batch))
        assert apart(outputs, wanted) <= limit
    loss, grads = trainer.loss_and_grads(put)
    assert abs(loss - look.loss) <= limit * look.loss
    assert farthest(grads, look.grads) <= limit
    shown, right = trainer.trace(put), judge.trace(wide(state), wide(batch))
    assert shown.keys() >= {"z1", workload.trace[-1]} & {*workload.trace}
    if framework in ("numpy", "tensorflow"):  # a function of the room's file says all of it
        assert shown.keys() == right.keys() == {*workload.trace}
    assert farthest(shown, {n: right[n] for n in shown}) <= limit
    assert same_bits(trainer.get_state(), state), "looking changes nothing"
    after = wide(state)
    for seed in range(6):
        batch = batch_of(workload, 5, dtype, seed)
        (mine,) = trainer.took(batch)
        loss, after = judged(judge, workload.optimiser, after, wide(batch))
        assert abs(mine - loss) <= limit * loss
    assert farthest(trainer.get_state(), after) <= limit
    trainer.close()


@pytest.fixture(scope="module")
def resnet34():
    """Its state, two samples, and what the judge says of them: seconds each time."""
    workload, judge = WORKLOADS["resnet34"], Composed(NETS["resnet34"])
    at = wide(initial_state(workload, 0)), batch_of(workload, 2, "float64")
    return *at, judge.look(*at), judge.outputs(*at), judge.trace(*at)


@pytest.mark.parametrize("framework", [form("numpy"), form("torch")])
def test_resnet34_computes_what_the_judge_says(train, framework, resnet34):
    """A step of two samples; what compiles for a minute is asked in a run."""
    workload, (state, batch, look, evaluated, right) = WORKLOADS["resnet34"], resnet34
    trainer = train(framework, workload)
    trainer.set_state(state)
    put = trainer.put(batch)
    assert apart(trainer.outputs(put, training=True), look.outputs) <= 1e-12
    assert apart(trainer.outputs(put, training=False), evaluated) <= 1e-12
    loss, grads = trainer.loss_and_grads(put)
    assert abs(loss - look.loss) <= 1e-12 * look.loss
    assert farthest(grads, look.grads) <= 1e-9
    shown = trainer.trace(put)
    assert shown.keys() >= {"z1", "l1b0.z1", "l1b0.zs", "l4b2.n2", "r17", "logits"}
    assert farthest(shown, {n: right[n] for n in shown}) <= 1e-11
    assert same_bits(trainer.get_state(), state), "looking changes nothing"
    trainer.wait(trainer.step(put))
    after, new = optimisers.stepped(workload.optimiser, state, look.grads), trainer.get_state()
    running = [t.name for t in workload.tensors if t.role == "running"]
    assert farthest({n: new[n] for n in running}, {n: look.running[n] for n in running}) <= 1e-12
    assert farthest({n: new[n] for n in grads}, {n: after[n] for n in grads}) <= 1e-9
    trainer.close()


@pytest.mark.parametrize(
    ("framework", "variant"), [form("numpy", "plain"), form("tensorflow", "eager")]
)
def test_a_variant_takes_the_steps_of_convolutions(train, framework, variant):
    workload, judge = WORKLOADS["cifar-net"], Composed(NETS["cifar-net"])
    after = wide(initial_state(workload, 1))
    trainer = train(framework, workload, variant=variant)
    trainer.set_state(after)
    batch = batch_of(workload, 4, "float64")
    put = trainer.put(batch)
    trainer.loss_and_grads(put)
    for _ in range(3):
        loss, after = judged(judge, workload.optimiser, after, batch)
        assert abs(trainer.wait(trainer.step(put)) - loss) <= 1e-13 * loss
    assert farthest(trainer.get_state(), after) <= 1e-13
    shown = trainer.trace(put)[workload.trace[-1]]
    assert apart(shown, trainer.outputs(put, training=True)) <= 1e-14


@pytest.mark.parametrize("name", LIGHT)
@pytest.mark.parametrize("framework", [form("torch"), form("jax")])
def test_a_float64_step_computes_nothing_in_float32(serve, train, framework, name):
    workload = WORKLOADS[name]
    # Once in float32, where it shows.
    for dtype in LIMITS if name == DEFAULT else ["float64"]:
        trainer = train(framework, workload, dtype)
        trainer.set_state({t.name: np.zeros(t.shape, dtype) for t in workload.tensors})
        put = trainer.put(batch_of(workload, 3, dtype))
        found = serve(framework, dtype).ask(narrow, trainer.handle, put)
        assert bool(found) is (dtype == "float32")


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("rule", optimisers.RULES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_any_state_comes_back_bit_for_bit(train, framework, rule, dtype):
    workload = normed(of(rule))
    info = np.finfo(dtype)
    odd = [-0.0, 0.0, float(info.smallest_subnormal), float(-info.max), float(info.tiny) / 2, 1 / 3]
    state = {
        t.name: np.resize(np.roll(odd, i), t.shape).astype(dtype)
        for i, t in enumerate(workload.tensors)
    }
    trainer = train(framework, workload, dtype)
    for given in (state, {n: (v[..., ::-1] if v.ndim else v) for n, v in state.items()}):
        trainer.set_state(given)
        if rule == "adam":  # looking is no business of a rule's
            put = trainer.put(batch_of(workload, 4, dtype))
            trainer.outputs(put, training=True)
            trainer.loss_and_grads(put)
            trainer.trace(put)
        assert same_bits(trainer.get_state(), given)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_images_come_back_bit_for_bit(train, framework, dtype):
    workload = WORKLOADS["cifar-net"]
    batch = batch_of(workload, 3, dtype)
    batch["x"][0, :2] = [[[-0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]]]
    trainer = train(framework, workload, dtype)
    for x in (batch["x"], batch["x"][::-1, ::-1], np.asfortranarray(batch["x"])):
        back = trainer.fetch(trainer.put(batch | {"x": x}))
        assert same_bits(back, {"x": x, "y": batch["y"].astype(np.int64)})


MADE: dict[str, Callable[..., Optimiser]] = {
    rule: getattr(optimisers, rule) for rule in optimisers.RULES
}
NUMBERS = {
    "momentum": {"momentum": 0.8},
    "nesterov": {"momentum": 0.8},
    "rmsprop": {"rho": 0.8, "eps": 1e-2},
    "adagrad": {"eps": 1e-2},
    "adam": {"beta1": 0.8, "beta2": 0.95, "eps": 1e-2},
    "decay": {"decay": 0.1},
    "adamw": {"beta1": 0.8, "beta2": 0.95, "eps": 1e-2, "decay": 0.1},
}


def of(rule: str) -> Optimiser:
    """With numbers that are no default, and an eps that shows where it stands."""
    return MADE[rule](0.05, **NUMBERS.get(rule, {}))


def forced(workload: Workload, step: int):
    """A state that no training from zeros has."""
    rng = np.random.default_rng([3, step])
    state = {t.name: rng.standard_normal(t.shape) for t in workload.tensors}
    for name in state:
        if name.endswith(("/v", "var")):
            state[name] = state[name] ** 2 + 0.1
        if step == 0 and "/" in name:
            state[name] = np.zeros_like(state[name])
    return state | ({"step": np.array(float(step))} if "step" in state else {})


@pytest.mark.parametrize("rule", optimisers.RULES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_rule_steps_by_its_formula_from_any_state(train, framework, rule):
    declared = tiny(of(rule))
    workload, judge = declared.workload, Composed(declared.net)
    trainer = train(framework, workload)
    for step in (0, 1, 50):
        after = forced(workload, step)
        trainer.set_state(after)
        # A batch that is shorter: another program, where a framework compiles one a shape.
        sizes = (6, 6, 4) if rule == "sgd" else (6, 6, 6)
        batches = [batch_of(workload, n, "float64", seed) for seed, n in enumerate(sizes)]
        right = []
        for batch in batches:
            loss, after = judged(judge, workload.optimiser, after, batch)
            right.append(loss)
        assert apart(trainer.took(*batches), right) <= 1e-13
        assert farthest(trainer.get_state(), after) <= 1e-13
    if framework in ("numpy", "tensorflow"):
        assert trainer.trace(trainer.put(batches[0])) == {}, "its file shows nothing"


@pytest.mark.parametrize("framework", [form(name) for name in OFF])
def test_a_loss_that_is_off_by_a_billionth_shows(train, framework):
    declared = tiny(of("adam"), "off")
    state, batch = forced(declared.workload, 1), batch_of(declared.workload, 6, "float64")
    trainer = train(framework, declared.workload)
    trainer.set_state(state)
    look = Composed(declared.net).look(state, batch)
    loss, grads = trainer.loss_and_grads(trainer.put(batch))
    assert abs(loss / look.loss - 1) == pytest.approx(1e-9, rel=1e-3)
    assert farthest(grads, look.grads) == pytest.approx(1e-9, rel=1e-3)


@pytest.mark.parametrize("framework", [form("numpy"), form("tensorflow")])
def test_a_users_net_has_its_own_layout(train, framework):
    declared = declare(
        *("channels", Flatten(), Dense("W1", "b1", 24, 3)),
        loss=SoftmaxCrossEntropy(),
        optimiser=of("momentum"),
        init=fan_in_uniform,
        x=(3, 4, 2),
        data="made",
        batch_size=6,
        epochs=1,
    )
    workload = declared.workload
    for variant in VARIANTS[framework]:
        trainer = train(framework, workload, variant=variant)
        state, batch = forced(workload, 1), batch_of(workload, 6, "float64")
        trainer.set_state(state)
        put = trainer.put(batch)
        assert same_bits(trainer.fetch(put), batch)
        assert same_bits(trainer.get_state(), state)
        look = Composed(declared.net).look(state, batch)
        assert apart(trainer.outputs(put, training=False), look.outputs) <= 1e-13
        assert farthest(trainer.loss_and_grads(put)[1], look.grads) <= 1e-13
        trainer.took(batch)
        after = optimisers.stepped(workload.optimiser, state, look.grads)
        assert farthest(trainer.get_state(), after) <= 1e-13


# -- batch norm and dropout, by the formulas of docs/workload.md --------------------------------


def normed_look(state, batch, *, training: bool):
    """Outputs, n1, loss, gradients, running tensors: each formula written out."""
    x, U, n = batch["x"], batch["U"], len(batch["x"])
    z = x @ state["W1"] + state["b1"]
    mean, var = (z.mean(0), z.var(0)) if training else (state["mean"], state["var"])
    unit = (z - mean) / np.sqrt(var + 1e-5)
    n1 = unit * state["gamma"] + state["beta"]
    s = 1 / (1 + np.exp(-n1))
    mask = (U >= 0.25) / 0.75 if training else np.ones_like(U)
    logits = (s * mask) @ state["W2"] + state["b2"]
    loss, d = SoftmaxCrossEntropy()(logits, batch["y"])
    grads = {"W2": (s * mask).T @ d, "b2": d.sum(0)}
    d = (d @ state["W2"].T) * mask * s * (1 - s)
    grads |= {"gamma": (d * unit).sum(0), "beta": d.sum(0)}
    d = d * state["gamma"]
    d = (d - d.mean(0) - unit * (d * unit).mean(0)) / np.sqrt(var + 1e-5)
    grads |= {"W1": x.T @ d, "b1": d.sum(0)}
    running = {"mean": 0.9 * state["mean"] + 0.1 * mean}
    running["var"] = 0.9 * state["var"] + 0.1 * var * n / (n - 1)
    return logits, n1, loss, grads, running


@pytest.mark.parametrize(("framework", "variant"), FORMS)
def test_a_users_net_has_running_tensors_noise_and_two_modes(train, framework, variant):
    workload = normed(of("adam"))
    state, batch = forced(workload, 3), batch_of(workload, 6, "float64")
    trainer = train(framework, workload, variant=variant)
    trainer.set_state(state)
    put = trainer.put(batch)
    assert same_bits(trainer.fetch(put), batch)
    logits, n1, loss, grads, _ = normed_look(state, batch, training=True)
    evaluated = normed_look(state, batch, training=False)[0]
    assert apart(evaluated, logits) > 0.01
    assert apart(trainer.outputs(put, training=True), logits) <= 1e-13
    assert apart(trainer.outputs(put, training=False), evaluated) <= 1e-13
    mine, by = trainer.loss_and_grads(put)
    assert abs(mine - loss) <= 1e-13 * loss
    big = max(np.abs(g).max() for g in grads.values())  # b1's is 0 but for rounding
    assert by.keys() == grads.keys()
    assert max(np.abs(by[n] - g).max() for n, g in grads.items()) <= 1e-13 * big
    assert apart(trainer.trace(put)["n1"], n1) <= 1e-13
    assert same_bits(trainer.get_state(), state), "looking changes nothing"
    after = state
    for seed in range(3):
        batch = batch_of(workload, 6, "float64", seed)
        _, _, loss, grads, running = normed_look(after, batch, training=True)
        assert abs(trainer.took(batch)[0] - loss) <= 1e-13 * loss
        after = optimisers.stepped(workload.optimiser, after, grads) | running
    back = trainer.get_state()
    # b1 and its moments come from gradients that are nothing but rounding.
    b1 = [name for name in after if name.startswith("b1")]
    assert max(np.abs(back[name] - after[name]).max() for name in b1) <= 1e-10
    rest = after.keys() - {*b1}
    assert farthest({n: back[n] for n in rest}, {n: after[n] for n in rest}) <= 1e-11


def test_scan_takes_the_steps_of_jit(train):
    pytest.importorskip("jax")
    workload = normed(of("adam"))
    batches = [batch_of(workload, 6, "float64", seed) for seed in range(4)]
    trainer = train("jax", workload, variant="scan")
    trainer.set_state(forced(workload, 3))
    one_by_one, state = trainer.took(*batches), trainer.get_state()
    trainer.set_state(forced(workload, 3))
    many = trainer.served.ask(_run, trainer.handle, *[trainer.put(batch) for batch in batches])
    assert apart(many, one_by_one) <= 1e-13
    assert farthest(trainer.get_state(), state) <= 1e-13


def _run(trainer, *batches):
    return trainer.run(batches)


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "no-such-net"}, "unknown model 'no-such-net'"),
        ({"loss": "hinge"}, "unknown loss 'hinge'"),
        ({"optimiser": Optimiser("lion", 0.1)}, "unknown optimiser 'lion'"),
        ({"model": "less"}, "its Net has no b2"),
        ({"model": "turned"}, r"which LAYOUT does not turn into W1 \(5, 4\)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_known_is_refused_in_one_line(train, framework, change, words):
    workload = msgspec.structs.replace(tiny(of("sgd")).workload, **change)
    with pytest.raises(ValueError, match=words) as refused:
        train(framework, workload)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("framework", [form("torch"), form("jax")])
def test_a_net_with_a_tensor_that_is_not_declared_is_refused(train, framework):
    workload = msgspec.structs.replace(tiny(of("sgd")).workload, tensors=())
    with pytest.raises(ValueError, match="no tensor is its Net's"):
        train(framework, workload)


def test_torch_has_no_velocity_without_momentum(train):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="no velocity"):
        train("torch", tiny(Optimiser("momentum", 0.1, {"momentum": 0.0})).workload)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_wrong_state_or_batch_changes_nothing(train, framework):
    workload = tiny(of("momentum")).workload
    trainer = train(framework, workload)
    state = forced(workload, 1)
    trainer.set_state(state)
    wrong = {n: v + 1 for n, v in state.items()}
    for broken in ({**wrong, "W1/velocity": wrong["W1"].T}, {"W1": wrong["W1"]}):
        with pytest.raises(ValueError, match="state: "):
            trainer.set_state(broken)
    assert same_bits(trainer.get_state(), state)
    with pytest.raises(ValueError, match="batch: missing y"):
        trainer.put({"x": np.zeros((2, 5))})


@needs("tensorflow", "jax")
@pytest.mark.parametrize("before", ["", "import jax; "])
def test_tensorflow_is_imported_without_what_it_would_import_for_others(before):
    code = (
        f"{before}import sys, backends.tensorflow, tensorflow as tf; "
        "print(*(name in sys.modules for name in ('jax', 'pandas', 'keras', 'scipy'))); "
        "import jax, keras, scipy.sparse; print(jax.numpy.ones(3).sum()); "
        "print(tf.keras.layers.Dense(3)(tf.ones((2, 2))).shape, keras.ops.shape(tf.ones(2)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    there = f"{bool(before)} False False False"
    assert told.stdout.splitlines() == [there, "3.0", "(2, 3) (2,)"]
