"""The rooms of TensorFlow and NumPy against the composed judge, in processes of their own.

What is compared, and how, stands in test_rooms_torch_jax.py.
"""

from __future__ import annotations

import importlib.util

import msgspec
import numpy as np
import pytest

from harness.interface import Optimiser
from harness.workloads import NETS, WORKLOADS
from harness.workloads.declare import declare, fan_in_uniform
from harness.workloads.reference import optimisers
from harness.workloads.reference.canonical import initial_state
from harness.workloads.reference.composed import Composed
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import Dense, Flatten
from tests.served import Served
from tests.test_rooms_torch_jax import (
    LIMITS,
    apart,
    batch_of,
    farthest,
    forced,
    judged,
    normed,
    normed_look,
    of,
    tiny,
    wide,
)

DEFAULTS = {"numpy": "buffered", "tensorflow": "xla"}
VARIANTS = [
    *[("numpy", "buffered"), ("numpy", "plain")],
    *[("tensorflow", "xla"), ("tensorflow", "graph"), ("tensorflow", "eager")],
]
MISSING = {name: not importlib.util.find_spec(name) for name in DEFAULTS}
FRAMEWORKS = [
    pytest.param(name, marks=pytest.mark.skipif(MISSING[name], reason=name)) for name in DEFAULTS
]
FORMS = [
    pytest.param(*form, marks=pytest.mark.skipif(MISSING[form[0]], reason=form[0]))
    for form in VARIANTS
]

TINY = {
    "numpy": """
import numpy as np
from backends.numpy.layers import (
    sigmoid, sigmoid_back, softmax_cross_entropy, softmax_cross_entropy_back
)

class Linear:
    def __init__(self, inputs, outputs, dtype):
        self.weight = np.ones((outputs, inputs), dtype)
        self.bias = np.ones((1, outputs), dtype)

    def __call__(self, X):
        return X @ self.weight.T + self.bias

class Net:
    def __init__(self, dtype):
        self.fc1, self.fc2 = Linear(5, 4, dtype), Linear(4, 3, dtype)

    def forward(self, X):
        self.H = sigmoid(self.fc1(X))
        return self.fc2(self.H)

loss = softmax_cross_entropy

def loss_and_grads(net, X, y):
    Y_hat = net.forward(X)
    d2 = softmax_cross_entropy_back(Y_hat, y)
    d1 = sigmoid_back(d2 @ net.fc2.weight, net.H)
    return loss(Y_hat, y), {
        "fc1.weight": d1.T @ X, "fc1.bias": d1.sum(0, keepdims=True),
        "fc2.weight": d2.T @ net.H, "fc2.bias": d2.sum(0, keepdims=True),
    }
""",
    "tensorflow": """
import tensorflow as tf

class Linear(tf.Module):
    def __init__(self, inputs, outputs, dtype):
        super().__init__()
        self.weight = tf.Variable(tf.ones((outputs, inputs), dtype))
        self.bias = tf.Variable(tf.ones((1, outputs), dtype))

    def __call__(self, X):
        return X @ tf.transpose(self.weight) + self.bias

class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.fc1, self.fc2 = Linear(5, 4, dtype), Linear(4, 3, dtype)

    def forward(self, X):
        return self.fc2(tf.sigmoid(self.fc1(X)))

def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))
""",
}
DENSE = """
LAYOUT = {"W1": ("fc1.weight", (1, 0)), "b1": ("fc1.bias",),
          "W2": ("fc2.weight", (1, 0)), "b2": ("fc2.bias",)}
"""
NORMED = {
    "numpy": """
import numpy as np
from backends.numpy.layers import (
    sigmoid, sigmoid_back, softmax_cross_entropy, softmax_cross_entropy_back
)

class Norm:
    def __init__(self, dtype):
        self.gamma, self.beta, self.mean, self.var = np.ones((4, 6), dtype)

    def forward(self, X, training):
        m, v, n = self.mean, self.var, len(X)
        if training:
            m, v = X.mean(0), X.var(0)
            self.mean = 0.9 * self.mean + 0.1 * m
            self.var = 0.9 * self.var + 0.1 * v * n / (n - 1)
        self.scale = np.sqrt(v + 1e-5)
        self.unit = (X - m) / self.scale
        return self.unit * self.gamma + self.beta

    def back(self, d):
        d = d * self.gamma
        return (d - d.mean(0) - self.unit * (d * self.unit).mean(0)) / self.scale

class Net:
    def __init__(self, dtype):
        self.W1, self.b1 = np.ones((5, 6), dtype), np.ones(6, dtype)
        self.bn = Norm(dtype)
        self.W2, self.b2 = np.ones((6, 3), dtype), np.ones(3, dtype)

    def forward(self, X, noise, training):
        self.z1 = X @ self.W1 + self.b1
        self.n1 = self.bn.forward(self.z1, training)
        self.s1 = sigmoid(self.n1)
        self.mask = (noise["U"] >= 0.25) / self.W1.dtype.type(0.75) if training else 1
        self.h1 = self.s1 * self.mask
        return self.h1 @ self.W2 + self.b2

loss = softmax_cross_entropy

def loss_and_grads(net, X, y, noise):
    Y_hat = net.forward(X, noise, training=True)
    d2 = softmax_cross_entropy_back(Y_hat, y)
    n1 = sigmoid_back(d2 @ net.W2.T * net.mask, net.s1)
    d1 = net.bn.back(n1)
    return loss(Y_hat, y), {
        "W1": X.T @ d1, "b1": d1.sum(0), "bn.gamma": (n1 * net.bn.unit).sum(0),
        "bn.beta": n1.sum(0), "W2": net.h1.T @ d2, "b2": d2.sum(0),
    }

def trace(net, X, noise):
    net.forward(X, noise, training=True)
    return {"z1": net.z1, "n1": net.n1}
""",
    "tensorflow": """
import tensorflow as tf

class Norm(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.gamma, self.beta = (tf.Variable(tf.ones(6, dtype)) for _ in range(2))
        self.mean, self.var = (tf.Variable(tf.ones(6, dtype), trainable=False) for _ in range(2))

    def __call__(self, X, training):
        m, v = self.mean, self.var
        if training:
            n = tf.cast(tf.shape(X)[0], X.dtype)
            m, v = tf.nn.moments(X, 0)
            self.mean.assign(0.9 * self.mean + 0.1 * m)
            self.var.assign(0.9 * self.var + 0.1 * v * n / (n - 1))
        return (X - m) / tf.sqrt(v + 1e-5) * self.gamma + self.beta

class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.W1, self.b1 = tf.Variable(tf.ones((5, 6), dtype)), tf.Variable(tf.ones(6, dtype))
        self.bn = Norm(dtype)
        self.W2, self.b2 = tf.Variable(tf.ones((6, 3), dtype)), tf.Variable(tf.ones(3, dtype))

    def forward(self, X, noise, training):
        H = tf.sigmoid(self.bn(X @ self.W1 + self.b1, training))
        if training:
            H = H * tf.cast(noise["U"] >= 0.25, X.dtype) / 0.75
        return H @ self.W2 + self.b2

def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))

def trace(net, X, noise):
    Z = X @ net.W1 + net.b1
    return {"z1": Z, "n1": net.bn(Z, training=True)}
""",
}
# Channels first: its dense weights are outputs x (channels, rows, columns).
CHANNELS = {
    "numpy": TINY["numpy"].partition("class Net")[0]
    + """
class Net:
    def __init__(self, dtype):
        self.fc = Linear(24, 3, dtype)

    def forward(self, X):
        assert X.shape[1:] == (2, 3, 4)
        return self.fc(X.reshape(len(X), -1))

loss = softmax_cross_entropy

def loss_and_grads(net, X, y):
    Y_hat = net.forward(X)
    d = softmax_cross_entropy_back(Y_hat, y)
    grads = {"fc.weight": d.T @ X.reshape(len(X), -1), "fc.bias": d.sum(0, keepdims=True)}
    return loss(Y_hat, y), grads
""",
    "tensorflow": TINY["tensorflow"].partition("class Net")[0]
    + """
class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.fc = Linear(24, 3, dtype)

    def forward(self, X):
        assert X.shape[1:] == (2, 3, 4)
        return self.fc(tf.reshape(X, (-1, 24)))

def loss(Y_hat, y):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, Y_hat))
""",
}
FLAT = """
LAYOUT = {"x": ("x", (0, 2, 3, 1)), "W1": ("fc.weight", (2, 3, 1, 0), (3, 2, 3, 4)),
          "b1": ("fc.bias",)}
"""
NORM = "".join(f'"{name}": ("bn.{name}",), ' for name in ("gamma", "beta", "mean", "var"))


@pytest.fixture(scope="module")
def serve(tmp_path_factory):
    """serve(framework, dtype, variant): one process each, with a user's folder of rooms."""
    folder = tmp_path_factory.mktemp("rooms")
    for framework in DEFAULTS:
        (folder / framework).mkdir()
        for name, text in {
            "tiny": TINY[framework] + DENSE,
            "normed": NORMED[framework] + f"LAYOUT = {{{NORM}}}",
            "channels": CHANNELS[framework] + FLAT,
            "less": TINY[framework] + DENSE.replace('"b2": (', '"b3": ('),
            "turned": TINY[framework] + DENSE.replace('fc1.weight", (1, 0)', 'fc1.weight", (0, 1)'),
        }.items():
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


def same_bits(mine, given) -> bool:
    return {n: (v.dtype, v.shape, v.tobytes()) for n, v in mine.items()} == {
        n: (v.dtype, v.shape, v.tobytes()) for n, v in given.items()
    }


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
    assert shown.keys() == right.keys() == {*workload.trace}
    assert farthest(shown, right)[0] <= limit
    assert same_bits(trainer.get_state(), state), "looking changes nothing"
    after = wide(state)
    for seed in range(20):
        batch = batch_of(workload, 5 if seed % 7 else 3, dtype, seed)
        (mine,) = trainer.took(batch)
        loss, after = judged(judge, workload.optimiser, after, wide(batch))
        assert abs(mine - loss) <= limit * loss
    assert farthest(trainer.get_state(), after)[0] <= limit
    trainer.close()


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize(("framework", "variant"), FORMS)
def test_every_variant_takes_the_same_steps(serve, framework, variant, name):
    workload, judge = WORKLOADS[name], Composed(NETS[name])
    after = wide(initial_state(workload, 1))
    trainer = serve(framework, variant=variant).trainer(workload)
    trainer.set_state(after)
    batch = batch_of(workload, 4, "float64")
    put = trainer.put(batch)
    trainer.loss_and_grads(put)
    for _ in range(3):
        loss, after = judged(judge, workload.optimiser, after, batch)
        assert abs(trainer.wait(trainer.step(put)) - loss) <= 1e-13 * loss
    assert farthest(trainer.get_state(), after)[0] <= 1e-13
    shown = trainer.trace(put)[workload.trace[-1]]
    assert apart(shown, trainer.outputs(put, training=True)) <= 1e-14


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("rule", ["momentum", "adam"])
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
        assert same_bits(trainer.get_state(), given)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_images_come_back_bit_for_bit(serve, framework, dtype):
    workload = WORKLOADS["cifar-net"]
    batch = batch_of(workload, 3, dtype)
    batch["x"][0, :2] = [[[-0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]]]
    trainer = serve(framework, dtype).trainer(workload)
    for x in (batch["x"], batch["x"][::-1, ::-1], np.asfortranarray(batch["x"])):
        back = trainer.fetch(trainer.put(batch | {"x": x}))
        assert same_bits(back, {"x": x, "y": batch["y"].astype(np.int64)})


@pytest.mark.parametrize("rule", optimisers.RULES)
@pytest.mark.parametrize(("framework", "variant"), [FORMS[0], FORMS[2], FORMS[4]])
def test_a_rule_steps_by_its_formula_from_any_state(serve, framework, variant, rule):
    declared = tiny(of(rule))
    workload, judge = declared.workload, Composed(declared.net)
    trainer = serve(framework, variant=variant).trainer(workload)
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
        assert trainer.trace(trainer.put(batches[0])) == {}, "its file shows nothing"


@pytest.mark.parametrize(("framework", "variant"), FORMS)
def test_a_users_net_has_its_own_layout(serve, framework, variant):
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
    trainer = serve(framework, variant=variant).trainer(workload)
    state, batch = forced(workload, 1), batch_of(workload, 6, "float64")
    trainer.set_state(state)
    put = trainer.put(batch)
    assert same_bits(trainer.fetch(put), batch)
    assert same_bits(trainer.get_state(), state)
    look = Composed(declared.net).look(state, batch)
    assert apart(trainer.outputs(put, training=False), look.outputs) <= 1e-13
    assert farthest(trainer.loss_and_grads(put)[1], look.grads)[0] <= 1e-13
    trainer.took(batch)
    after = optimisers.stepped(workload.optimiser, state, look.grads)
    assert farthest(trainer.get_state(), after)[0] <= 1e-13


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize(("framework", "variant"), FORMS)
def test_a_users_net_has_running_tensors_noise_and_two_modes(serve, framework, variant, rule):
    workload = normed(of(rule))
    state, batch = forced(workload, 3), batch_of(workload, 6, "float64")
    trainer = serve(framework, variant=variant).trainer(workload)
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
    assert farthest({n: back[n] for n in rest}, {n: after[n] for n in rest})[0] <= 1e-11


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
def test_what_is_not_known_is_refused_in_one_line(serve, framework, change, words):
    workload = msgspec.structs.replace(tiny(of("sgd")).workload, **change)
    with pytest.raises(ValueError, match=words) as refused:
        serve(framework).trainer(workload)
    assert "\n" not in str(refused.value)


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
    assert same_bits(trainer.get_state(), state)
    with pytest.raises(ValueError, match="batch: missing y"):
        trainer.put({"x": np.zeros((2, 5))})
