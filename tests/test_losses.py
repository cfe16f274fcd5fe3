"""Each loss of the judge is right: a thousand digits, central differences, three frameworks."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from harness.interface import Array
from harness.workloads.reference import losses
from harness.workloads.reference.losses import (
    BinaryCrossEntropy,
    HalfSquaredSum,
    Loss,
    Output,
    Quadratic,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

# exp amplifies the rounding of its argument, at most 1600 * 2^-53 = 2e-13 here; each small loss
# and each p - 1 must be as exact, or the judge is not fit to judge a confident sample.
LOSS_LIMIT = 1e-12


def softmax_written(z: list[Any], y: Any) -> Any:
    return mpmath.log(mpmath.fsum(map(mpmath.exp, z))) - z[int(y)]


def binary_written(a: list[Any], y: Any) -> Any:
    log = lambda p: max(mpmath.log(p), mpf(-100)) if p > 0 else mpf(-100)  # noqa: E731
    return -y[0] * log(a[0]) - (1 - y[0]) * log(1 - a[0])


def sigmoid_written(z: list[Any], y: Any) -> Any:
    a = [1 / (1 + mpmath.exp(-v)) for v in z]
    terms = [t * mpmath.log(p) + (1 - t) * mpmath.log(1 - p) for p, t in zip(a, y, strict=True)]
    return -mpmath.fsum(terms)


def quadratic_written(a: list[Any], y: Any) -> Any:
    return mpmath.fsum((p - t) ** 2 for p, t in zip(a, y, strict=True)) / 2


# Of one sample, as it is written.
WRITTEN = {
    SoftmaxCrossEntropy: softmax_written,
    BinaryCrossEntropy: binary_written,
    SigmoidCrossEntropy: sigmoid_written,
    Quadratic: quadratic_written,
    HalfSquaredSum: quadratic_written,
    Output: lambda a, _: a[0],
}

EXTREME: dict[str, tuple[Loss, Any, Any]] = {
    "softmax, ordinary": (SoftmaxCrossEntropy(), [[0.1, -0.3, 0.2], [1.0, 2.0, 3.0]], [0, 2]),
    "softmax, ties": (SoftmaxCrossEntropy(), [[1.0, 1.0, 1.0]], [1]),
    "softmax, nearly certain and right": (SoftmaxCrossEntropy(), [[27.7, 0.0, -3.0]], [0]),
    "softmax, nearly certain and wrong": (SoftmaxCrossEntropy(), [[69.1, 0.0, 41.4]], [1]),
    "softmax, shifted up": (SoftmaxCrossEntropy(), [[1001.0, 998.5, 1000.25]], [2]),
    "softmax, shifted down": (SoftmaxCrossEntropy(), [[-1001.0, -998.5, -1000.25]], [0]),
    "softmax, beyond exp": (SoftmaxCrossEntropy(), [[750.0, 0.0, -750.0]], [2]),
    "binary, ordinary": (BinaryCrossEntropy(), [[0.3], [0.9], [0.5]], [[0.0], [1.0], [1.0]]),
    "binary, small": (BinaryCrossEntropy(), [[1e-30], [1e-30]], [[0.0], [1.0]]),
    "binary, near 1": (BinaryCrossEntropy(), [[1 - 2.0**-50], [1 - 2.0**-53]], [[1.0], [0.0]]),
    "binary, soft": (BinaryCrossEntropy(), [[0.25], [1e-12]], [[0.75], [0.5]]),
    "binary, inside the clamp": (BinaryCrossEntropy(), [[4e-44]], [[1.0]]),
    "binary, clamped": (BinaryCrossEntropy(), [[3.5e-44], [0.25]], [[1.0], [1.0]]),
    "sigmoid, ordinary": (SigmoidCrossEntropy(), [[0.3, -2.0], [1.5, 0.0]], [[0, 1], [1, 1]]),
    "sigmoid, sure": (SigmoidCrossEntropy(), [[40.0, -40.0], [-60.0, 60.0]], [[1, 0], [1, 0]]),
    "sigmoid, beyond exp": (SigmoidCrossEntropy(), [[750.0, -750.0]], [[1, 1]]),
    "sigmoid, soft": (SigmoidCrossEntropy(), [[3.0, -5.0]], [[0.25, 0.5]]),
    "quadratic": (Quadratic(), [[0.3, -2.0], [1.5, 0.0]], [[0.0, 1.0], [1.0, 0.5]]),
    "output": (Output(), [[0.3], [-2.0], [1e300]], [0, 0, 0]),
    "half squared sum": (HalfSquaredSum(), [[0.3], [-2.0], [1.5]], [[0.0], [1.0], [1.0]]),
}


def written(loss: Loss, outputs: Array, y: Array) -> tuple[float, Array]:
    """The loss in 1000 digits (p - 1 may cancel 700), and its central differences in them."""
    of = WRITTEN[type(loss)]
    n = 1 if isinstance(loss, HalfSquaredSum) else len(y)
    with mpmath.workdps(1000):
        rows = [[mpf(v) for v in row] for row in outputs.tolist()]
        targets = [t if np.ndim(t) == 0 else [mpf(v) for v in t] for t in y.tolist()]
        value = mpmath.fsum(of(row, t) for row, t in zip(rows, targets, strict=True)) / n
        step = mpf(10) ** -200
        grad = np.zeros(outputs.shape)
        for i, j in np.ndindex(outputs.shape):
            ends = []
            for sign in (1, -1):
                row = [v + sign * step * (k == j) for k, v in enumerate(rows[i])]
                ends.append(of(row, targets[i]))
            grad[i, j] = float((ends[0] - ends[1]) / (2 * step) / n)
        return float(value), grad


def check(loss: Loss, outputs: Array, y: Array) -> None:
    want, want_grad = written(loss, outputs, y)
    got, grad = loss(outputs, y)
    assert got == pytest.approx(want, rel=LOSS_LIMIT, abs=1e-300)
    assert np.allclose(grad, want_grad, rtol=LOSS_LIMIT, atol=1e-300)


def test_every_loss_stands_in_the_tables() -> None:
    every = set(get_args(losses.Loss))
    assert {*WRITTEN} == every
    assert {type(loss) for loss, _, _ in EXTREME.values()} == every
    assert len({losses.loss_name(kind()) for kind in every}) == len(every)


@pytest.mark.parametrize("case", EXTREME)
def test_a_loss_and_its_gradient_equal_a_thousand_digit_computation(case: str) -> None:
    loss, outputs, y = EXTREME[case]
    check(loss, np.array(outputs), np.array(y))


@given(
    logits=st.lists(st.lists(st.floats(-800, 800), min_size=3, max_size=3), min_size=1, max_size=4),
    data_=st.data(),
)
@settings(max_examples=10, deadline=None)
def test_cross_entropies_equal_high_precision_for_any_logits(
    logits: list[list[float]], data_: st.DataObject
) -> None:
    n = len(logits)
    y = np.array(data_.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)))
    check(SoftmaxCrossEntropy(), np.array(logits), y)
    check(SigmoidCrossEntropy(), np.array(logits), np.eye(3)[y])


@settings(max_examples=25, deadline=None)
@given(a=st.floats(0.0, 1.0), y=st.sampled_from([0.0, 1.0, 0.25]))
def test_binary_cross_entropy_equals_high_precision_for_any_output(a: float, y: float) -> None:
    # On the clamp's own edge the derivative is not defined: exp(-100) and its neighbours.
    if abs(a - np.exp(-100.0)) > 1e-45 and 0 < a < 1:
        check(BinaryCrossEntropy(), np.array([[a]]), np.array([[y]]))


def test_a_clamped_logarithm_is_minus_100_and_has_no_slope() -> None:
    loss, grad = BinaryCrossEntropy()(np.array([[0.0], [1.0]]), np.array([[1.0], [0.0]]))
    assert loss == 100.0
    assert np.array_equal(grad, [[0.0], [0.0]])


def test_an_output_beyond_1_has_no_binary_cross_entropy() -> None:
    with np.errstate(invalid="ignore"):
        assert np.isnan(BinaryCrossEntropy()(np.array([[1.5]]), np.array([[0.0]]))[0])


@pytest.mark.parametrize("loss", [Quadratic("class"), SigmoidCrossEntropy("class")])
def test_classes_count_as_one_hot(loss: Quadratic | SigmoidCrossEntropy) -> None:
    rng = np.random.default_rng(0)
    outputs, y = rng.standard_normal((5, 3)), rng.integers(0, 3, 5)
    want, want_grad = loss(outputs, np.eye(3)[y])
    got, grad = loss(outputs, y)
    assert got == want
    assert np.array_equal(grad, want_grad)
    assert loss.targets == "class"


@pytest.mark.parametrize("case", EXTREME)
def test_a_sample_has_its_own_loss(case: str) -> None:
    loss, outputs, y = EXTREME[case]
    of = loss.of_samples(np.array(outputs), np.array(y))
    for i, own in enumerate(of):
        alone = loss(np.array(outputs[i : i + 1]), np.array(y[i : i + 1]))[0]
        assert own == pytest.approx(alone, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("case", [name for name in EXTREME if name.endswith(("ordinary", "soft"))])
def test_the_textbooks_form_is_the_same_function(case: str, up: bool) -> None:
    loss, outputs, y = EXTREME[case]
    want, want_grad = loss(np.array(outputs), np.array(y))
    got, grad = loss.textbook(np.array(outputs), np.array(y), up=up)
    assert got == pytest.approx(want, rel=1e-14)
    assert np.allclose(grad, want_grad, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()])
def test_the_textbooks_form_cancels_where_a_model_is_sure(loss: Loss) -> None:
    outputs = np.array([[60.0, -60.0]], np.float32)
    y = np.array([0]) if isinstance(loss, SoftmaxCrossEntropy) else np.array([[1.0, 0.0]])
    assert abs(loss(outputs.astype(float), y)[1][0, 0]) < 1e-25
    assert any(abs(loss.textbook(outputs, y, up=up)[1][0, 0]) > 1e-9 for up in (True, False))


# What the frameworks call each loss, in a process of its own.
PROGRAM = {
    "torch": """
import torch
from torch.nn import functional as F
def compute(kind, a, y):
    a, y = torch.tensor(a, requires_grad=True), torch.tensor(y)
    loss = {
        "SoftmaxCrossEntropy": lambda: F.cross_entropy(a, y),
        "BinaryCrossEntropy": lambda: F.binary_cross_entropy(a, y),
        "SigmoidCrossEntropy": lambda: F.binary_cross_entropy_with_logits(
            a, y, reduction="sum") / len(y),
        "Quadratic": lambda: F.mse_loss(a, y, reduction="sum") / 2 / len(y),
        "HalfSquaredSum": lambda: F.mse_loss(a, y, reduction="sum") / 2,
        "Output": lambda: a.mean(),
    }[kind]()
    loss.backward()
    return loss.item(), a.grad.numpy()
""",
    "jax": """
import jax, optax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
def compute(kind, a, y):
    clamped = lambda p: jnp.maximum(jnp.log(p), -100.0)
    loss = {
        "SoftmaxCrossEntropy": lambda a:
            optax.softmax_cross_entropy_with_integer_labels(a, y).mean(),
        "BinaryCrossEntropy": lambda a: -(y * clamped(a) + (1 - y) * clamped(1 - a)).mean(),
        "SigmoidCrossEntropy": lambda a: optax.sigmoid_binary_cross_entropy(a, y).sum() / len(y),
        "Quadratic": lambda a: optax.l2_loss(a, y).sum() / len(y),
        "HalfSquaredSum": lambda a: optax.l2_loss(a, y).sum(),
        "Output": lambda a: a.mean(),
    }[kind]
    value, grad = jax.value_and_grad(loss)(jnp.asarray(a))
    return float(value), np.asarray(grad)
""",
    "tensorflow": """
import tensorflow as tf
def compute(kind, a, y):
    a = tf.Variable(a)
    with tf.GradientTape() as tape:
        loss = {
            "SoftmaxCrossEntropy": lambda: tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(y, a)),
            "BinaryCrossEntropy": lambda: -tf.reduce_mean(
                y * tf.math.log(a) + (1 - y) * tf.math.log(1 - a)),
            "SigmoidCrossEntropy": lambda: tf.reduce_sum(
                tf.nn.sigmoid_cross_entropy_with_logits(y, a)) / len(y),
            "Quadratic": lambda: tf.nn.l2_loss(a - y) / len(y),
            "HalfSquaredSum": lambda: tf.nn.l2_loss(a - y),
            "Output": lambda: tf.reduce_mean(a),
        }[kind]()
    return float(loss), tape.gradient(loss, a).numpy()
""",
}
MAIN = """
import pickle, sys
import numpy as np
cases = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps({kind: compute(kind, *case) for kind, case in cases.items()}))
"""


@pytest.mark.parametrize("framework", PROGRAM)
def test_losses_equal_a_frameworks_own_and_its_autodiff(framework: str) -> None:
    if not importlib.util.find_spec(framework):
        pytest.skip(f"{framework} is not installed")
    rng = np.random.default_rng(5)
    wide, narrow = rng.standard_normal((6, 4)), rng.random((6, 1))
    cases = {
        "SoftmaxCrossEntropy": (wide, rng.integers(0, 4, 6)),
        "BinaryCrossEntropy": (narrow, rng.integers(0, 2, (6, 1)).astype(float)),
        "SigmoidCrossEntropy": (wide, rng.random((6, 4))),
        "Quadratic": (wide, rng.random((6, 4))),
        "HalfSquaredSum": (wide, rng.random((6, 4))),
        "Output": (narrow, np.zeros(6)),
    }
    assert {*cases} == {kind.__name__ for kind in WRITTEN}
    program = [sys.executable, "-c", "import numpy as np\n" + PROGRAM[framework] + MAIN]
    root = Path(__file__).parent.parent
    done = subprocess.run(
        program, input=pickle.dumps(cases), capture_output=True, cwd=root, timeout=300, check=True
    )
    for kind, (want, want_grad) in pickle.loads(done.stdout).items():
        got, grad = getattr(losses, kind)()(*cases[kind])
        assert got == pytest.approx(want, rel=1e-13), kind
        assert np.abs(grad - want_grad).max() <= 1e-13 * np.abs(grad).max(), kind
