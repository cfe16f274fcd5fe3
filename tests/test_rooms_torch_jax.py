"""The rooms of PyTorch and JAX against the composed judge, in processes of their own."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from harness.interface import Optimiser, Tensor, Workload
from harness.workloads import NETS, WORKLOADS
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference import optimisers
from harness.workloads.reference.canonical import initial_state
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Sigmoid
from tests.served import Served, narrow

DEFAULTS = {"torch": "eager", "jax": "jit"}
OTHERS = {"torch": "compile", "jax": "scan"}
LIMITS = {"float64": 1e-13, "float32": 1e-5}
FRAMEWORKS = [
    pytest.param(name, marks=pytest.mark.skipif(not importlib.util.find_spec(name), reason=name))
    for name in DEFAULTS
]

TINY = {
    "torch": """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3))

    def forward(self, X):
        return self.body(X)

def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)

LAYOUT = {"W1": ("body.0.weight", (1, 0)), "b1": ("body.0.bias",),
          "W2": ("body.2.weight", (1, 0)), "b2": ("body.2.bias",)}
""",
    "jax": """
import optax
from flax import linen as nn

class Net(nn.Module):
    @nn.compact
    def __call__(self, X):
        H = nn.sigmoid(nn.Dense(4)(X))
        return nn.Dense(3)(H)

def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()

LAYOUT = {"W1": ("Dense_0.kernel",), "b1": ("Dense_0.bias",),
          "W2": ("Dense_1.kernel",), "b2": ("Dense_1.bias",)}
""",
}
NORMED = {
    "torch": """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5, 6)
        self.bn = nn.BatchNorm1d(6)
        self.fc2 = nn.Linear(6, 3)

    def forward(self, X, noise):
        H = torch.sigmoid(self.bn(self.fc1(X)))
        if self.training:
            H = H * (noise["U"] >= 0.25) / 0.75
        return self.fc2(H)

def loss(Y_hat, y):
    return F.cross_entropy(Y_hat, y)

LAYOUT = {"W1": ("fc1.weight", (1, 0)), "b1": ("fc1.bias",), "gamma": ("bn.weight",),
          "beta": ("bn.bias",), "mean": ("bn.running_mean",), "var": ("bn.running_var",),
          "W2": ("fc2.weight", (1, 0)), "b2": ("fc2.bias",)}
TRACE = {"z1": ("fc1",), "n1": ("bn",)}
""",
    "jax": """
import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

class Norm(nn.Module):  # flax's own keeps the variance over n, not over n - 1
    @nn.compact
    def __call__(self, X, training):
        gamma = self.param("gamma", nn.initializers.ones, X.shape[1:])
        beta = self.param("beta", nn.initializers.zeros, X.shape[1:])
        mean = self.variable("batch_stats", "mean", jnp.zeros, X.shape[1:])
        var = self.variable("batch_stats", "var", jnp.ones, X.shape[1:])
        m, v, n = X.mean(0), X.var(0), len(X)
        if not training:
            m, v = mean.value, var.value
        elif not self.is_initializing():
            mean.value = 0.9 * mean.value + 0.1 * m
            var.value = 0.9 * var.value + 0.1 * v * n / (n - 1)
        return (X - m) / jnp.sqrt(v + 1e-5) * gamma + beta

class Net(nn.Module):
    @nn.compact
    def __call__(self, X, noise, training):
        H = nn.sigmoid(Norm(name="bn")(nn.Dense(6)(X), training))
        if training:
            H = H * (noise["U"] >= 0.25) / 0.75
        return nn.Dense(3)(H)

def loss(Y_hat, y):
    return optax.softmax_cross_entropy_with_integer_labels(Y_hat, y).mean()

LAYOUT = {"W1": ("Dense_0.kernel",), "b1": ("Dense_0.bias",), "gamma": ("bn.gamma",),
          "beta": ("bn.beta",), "mean": ("bn.mean",), "var": ("bn.var",),
          "W2": ("Dense_1.kernel",), "b2": ("Dense_1.bias",)}
TRACE = {"z1": ("Dense_0",), "n1": ("bn",)}
""",
}
OFF = {name: text.replace(").mean()", ").mean() * (1 + 1e-9)") for name, text in TINY.items()}
OFF["torch"] = TINY["torch"].replace(
    "F.cross_entropy(Y_hat, y)", "F.cross_entropy(Y_hat, y) * (1 + 1e-9)"
)
LESS = {name: text.replace('"b2": (', '"b3": (') for name, text in TINY.items()}
TURNED = {
    "torch": TINY["torch"].replace('body.0.weight", (1, 0)', 'body.0.weight", (0, 1)'),
    "jax": TINY["jax"].replace('"Dense_0.kernel",', '"Dense_0.kernel", (1, 0)'),
}


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """serve(framework, dtype, variant): one process each, with a user's folder of rooms."""
    folder = tmp_path_factory.mktemp("rooms")
    files = {"tiny": TINY, "normed": NORMED, "off": OFF, "less": LESS, "turned": TURNED}
    for name, texts in files.items():
        for framework, text in texts.items():
            (folder / framework).mkdir(exist_ok=True)
            (folder / framework / f"{name}.py").write_text(text)
    running: dict[tuple[str, str, str], Served] = {}

    def serve(framework: str, dtype: str = "float64", variant: str = "") -> Served:
        key = (framework, dtype, variant or DEFAULTS[framework])
        if key not in running:
            running[key] = Served(*key, str(folder))
        return running[key]

    yield serve
    for served in running.values():
        served.close()


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
    else:
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


def farthest(mine, right) -> tuple[float, str]:
    assert mine.keys() == right.keys()
    return max((apart(mine[name], right[name]), name) for name in right)


def judged(judge: Composed, optimiser: Optimiser, state, batch):
    """The loss of a step and the state after it."""
    look = judge.look(state, batch)
    return look.loss, optimisers.stepped(optimiser, state, look.grads) | look.running


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_workload_computes_what_the_judge_says(serve, framework, name, dtype):
    workload, judge, limit = WORKLOADS[name], Composed(NETS[name]), LIMITS[dtype]
    state = {n: v.astype(dtype) for n, v in initial_state(workload, 0).items()}
    batch = batch_of(workload, 5, dtype)
    trainer = serve(framework, dtype).trainer(workload)
    trainer.set_state(state)
    put = trainer.put(batch)
    look = judge.look(wide(state), wide(batch))
    for training in (True, False):
        outputs = trainer.outputs(put, training=training)
        assert outputs.dtype == dtype
        assert apart(outputs, look.outputs) <= limit
    loss, grads = trainer.loss_and_grads(put)
    assert abs(loss - look.loss) <= limit * look.loss
    assert farthest(grads, look.grads)[0] <= limit
    shown, right = trainer.trace(put), judge.trace(wide(state), wide(batch))
    assert shown.keys() >= {"z1", workload.trace[-1]}
    assert farthest(shown, {n: right[n] for n in shown})[0] <= limit
    after = wide(state)
    for seed in range(20):
        batch = batch_of(workload, 5 if seed % 7 else 3, dtype, seed)
        (mine,) = trainer.took(batch)
        loss, after = judged(judge, workload.optimiser, after, wide(batch))
        assert abs(mine - loss) <= limit * loss
    assert farthest(trainer.get_state(), after)[0] <= limit
    trainer.close()


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_float64_step_computes_nothing_in_float32(serve, framework, name):
    workload = WORKLOADS[name]
    for dtype, expected in (("float64", False), ("float32", True)):
        served = serve(framework, dtype)
        trainer = served.trainer(workload)
        trainer.set_state({t.name: np.zeros(t.shape, dtype) for t in workload.tensors})
        put = trainer.put(batch_of(workload, 3, dtype))
        assert bool(served.ask(narrow, trainer.handle, put)) is expected


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("rule", optimisers.RULES)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_any_state_comes_back_bit_for_bit(serve, framework, rule, dtype):
    workload = normed(of(rule))
    info = np.finfo(dtype)
    odd = [-0.0, 0.0, float(info.smallest_subnormal), float(-info.max), float(info.tiny) / 2, 1 / 3]
    state = {
        t.name: np.resize(np.roll(odd, i), t.shape).astype(dtype)
        for i, t in enumerate(workload.tensors)
    }
    trainer = serve(framework, dtype).trainer(workload)
    for given in (state, {n: (v[..., ::-1] if v.ndim else v) for n, v in state.items()}):
        trainer.set_state(given)
        put = trainer.put(batch_of(workload, 4, dtype))
        trainer.outputs(put, training=True)
        trainer.loss_and_grads(put)
        trainer.trace(put)
        back = trainer.get_state()
        assert back.keys() == given.keys()
        for name, value in given.items():
            assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape)
            assert back[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_images_come_back_bit_for_bit(serve, framework, dtype):
    workload = WORKLOADS["cifar-net"]
    batch = batch_of(workload, 3, dtype)
    batch["x"][0, :2] = [[[-0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]]]
    trainer = serve(framework, dtype).trainer(workload)
    for x in (batch["x"], batch["x"][::-1, ::-1], np.asfortranarray(batch["x"])):
        back = trainer.fetch(trainer.put(batch | {"x": x}))
        assert back["x"].tobytes() == x.tobytes()
        assert back["x"].dtype == dtype
        assert back["y"].dtype == np.int64
        np.testing.assert_array_equal(back["y"], batch["y"])


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


@pytest.mark.parametrize(
    ("rule", "variant"),
    [
        *((rule, DEFAULTS) for rule in optimisers.RULES),
        *((rule, OTHERS) for rule in ("sgd", "momentum", "adam")),
    ],
    ids=lambda value: value if isinstance(value, str) else value["torch"],
)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_rule_steps_by_its_formula_from_any_state(serve, framework, rule, variant):
    declared = tiny(of(rule))
    workload, judge = declared.workload, Composed(declared.net)
    trainer = serve(framework, variant=variant[framework]).trainer(workload)
    for step in (0, 1, 50):
        after = forced(workload, step)
        trainer.set_state(after)
        batches = [batch_of(workload, 6, "float64", seed) for seed in range(3)]
        right = []
        for batch in batches:
            loss, after = judged(judge, workload.optimiser, after, batch)
            right.append(loss)
        assert apart(trainer.took(*batches), right) <= 1e-13
        assert farthest(trainer.get_state(), after)[0] <= 1e-13


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_loss_that_is_off_by_a_billionth_shows(serve, framework):
    declared = tiny(of("adam"), "off")
    state, batch = forced(declared.workload, 1), batch_of(declared.workload, 6, "float64")
    trainer = serve(framework).trainer(declared.workload)
    trainer.set_state(state)
    look = Composed(declared.net).look(state, batch)
    loss, grads = trainer.loss_and_grads(trainer.put(batch))
    assert abs(loss / look.loss - 1) == pytest.approx(1e-9, rel=1e-3)
    assert farthest(grads, look.grads)[0] == pytest.approx(1e-9, rel=1e-3)


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


@pytest.mark.parametrize("variant", [DEFAULTS, OTHERS], ids=["default", "other"])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_users_net_has_running_tensors_noise_and_two_modes(serve, framework, rule, variant):
    workload = normed(of(rule))
    state, batch = forced(workload, 3), batch_of(workload, 6, "float64")
    trainer = serve(framework, variant=variant[framework]).trainer(workload)
    trainer.set_state(state)
    put = trainer.put(batch)
    for name, value in trainer.fetch(put).items():
        np.testing.assert_array_equal(value, batch[name])
    logits, n1, loss, grads, _ = normed_look(state, batch, training=True)
    evaluated = normed_look(state, batch, training=False)[0]
    assert apart(evaluated, logits) > 0.01
    assert apart(trainer.outputs(put, training=True), logits) <= 1e-13
    assert apart(trainer.outputs(put, training=False), evaluated) <= 1e-13
    mine, by = trainer.loss_and_grads(put)
    assert abs(mine - loss) <= 1e-13 * loss
    big = max(np.abs(g).max() for g in grads.values())  # b1's is 0 but for rounding
    assert {n: np.abs(by[n] - g).max() / big <= 1e-13 for n, g in grads.items()} == dict.fromkeys(
        grads, True
    )
    assert apart(trainer.trace(put)["n1"], n1) <= 1e-13
    assert {n: v.tobytes() for n, v in trainer.get_state().items()} == {
        n: v.tobytes() for n, v in state.items()
    }, "looking changes nothing"
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
    assert farthest({n: back[n] for n in rest}, {n: after[n] for n in rest})[0] <= 1e-11


@pytest.mark.parametrize("rule", ["sgd", "momentum", "adam"])
def test_scan_takes_the_steps_of_jit(serve, rule):
    pytest.importorskip("jax")
    workload = normed(of(rule))
    batches = [batch_of(workload, 6, "float64", seed) for seed in range(4)]
    trainer = serve("jax", variant="scan").trainer(workload)
    trainer.set_state(forced(workload, 3))
    one_by_one, state = trainer.took(*batches), trainer.get_state()
    trainer.set_state(forced(workload, 3))
    many = trainer.served.ask(_run, trainer.handle, *[trainer.put(batch) for batch in batches])
    assert apart(many, one_by_one) <= 1e-13
    assert farthest(trainer.get_state(), state)[0] <= 1e-13


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
        ({"tensors": ()}, "no tensor is its Net's"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_known_is_refused_in_one_line(serve, framework, change, words):
    workload = msgspec.structs.replace(tiny(of("sgd")).workload, **change)
    with pytest.raises(ValueError, match=words) as refused:
        serve(framework).trainer(workload)
    assert "\n" not in str(refused.value)


def test_torch_has_no_velocity_without_momentum(serve):
    pytest.importorskip("torch")
    with pytest.raises(ValueError, match="no velocity"):
        serve("torch").trainer(tiny(Optimiser("momentum", 0.1, {"momentum": 0.0})).workload)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_wrong_state_or_batch_changes_nothing(serve, framework):
    workload = tiny(of("momentum")).workload
    trainer = serve(framework).trainer(workload)
    state = forced(workload, 1)
    trainer.set_state(state)
    wrong = {n: v + 1 for n, v in state.items()}
    for broken in ({**wrong, "W1/velocity": wrong["W1"].T}, {"W1": wrong["W1"]}):
        with pytest.raises(ValueError, match="state: "):
            trainer.set_state(broken)
    assert farthest(trainer.get_state(), state)[0] == 0
    with pytest.raises(ValueError, match="batch: missing y"):
        trainer.put({"x": np.zeros((2, 5))})
