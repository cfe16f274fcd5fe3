"""Targets that are rows of numbers: regression on vectors, and several labels of a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.interface import Outcome
from harness.measure import outcome
from harness.report import page
from harness.report.run import report
from harness.report.run_tables import Run
from harness.workloads import WORKLOADS
from harness.workloads.declare import Declared, declare, fan_in_uniform
from harness.workloads.reference.losses import Loss, Quadratic, SigmoidCrossEntropy
from harness.workloads.reference.optimisers import adam
from harness.workloads.reference.pieces import Dense, Tanh
from tests.conftest import carry_out, needs
from tests.make import make_plan

FRAMEWORKS = ("numpy", "torch", "jax", "tensorflow")
LOSSES: dict[str, Loss] = {"quadratic": Quadratic(), "sigmoid-cross-entropy": SigmoidCrossEntropy()}
# A user's files; LOSS stands for the loss's name and its formula in the framework.
ROOMS = {
    "torch": """
import torch
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, X):
        return self.fc2(torch.tanh(self.fc1(X)))

LAYOUT = {"W1": ("fc1.weight", (1, 0)), "b1": ("fc1.bias",)}
LAYOUT |= {"W2": ("fc2.weight", (1, 0)), "b2": ("fc2.bias",)}
def loss(Y_hat, y):
    return LOSS
""",
    "jax": """
import jax.numpy as jnp
import optax
from flax import linen as nn

class Net(nn.Module):
    @nn.compact
    def __call__(self, X):
        H = jnp.tanh(nn.Dense(8)(X))
        return nn.Dense(3)(H)

LAYOUT = {"W1": ("Dense_0.kernel",), "b1": ("Dense_0.bias",)}
LAYOUT |= {"W2": ("Dense_1.kernel",), "b2": ("Dense_1.bias",)}
def loss(Y_hat, y):
    return LOSS
""",
    "tensorflow": """
import tensorflow as tf

class Net(tf.Module):
    def __init__(self, dtype):
        super().__init__()
        self.W1, self.b1 = tf.Variable(tf.zeros((6, 8), dtype)), tf.Variable(tf.zeros(8, dtype))
        self.W2, self.b2 = tf.Variable(tf.zeros((8, 3), dtype)), tf.Variable(tf.zeros(3, dtype))

    def forward(self, X):
        return tf.tanh(X @ self.W1 + self.b1) @ self.W2 + self.b2

def loss(Y_hat, y):
    return LOSS
""",
    "numpy": """
import numpy as np

class Net:
    def __init__(self, dtype):
        self.W1, self.b1 = np.zeros((6, 8), dtype), np.zeros(8, dtype)
        self.W2, self.b2 = np.zeros((8, 3), dtype), np.zeros(3, dtype)

    def forward(self, X):
        self.H = np.tanh(X @ self.W1 + self.b1)
        return self.H @ self.W2 + self.b2

def loss_and_grads(net, X, y):
    Y_hat = net.forward(X)
    value, d = LOSS
    e = d @ net.W2.T * (1 - net.H**2)
    grads = {"W1": X.T @ e, "b1": e.sum(0), "W2": net.H.T @ d, "b2": d.sum(0)}
    return value, grads
""",
}
FORMULAS = {
    "quadratic": {
        "torch": "((Y_hat - y) ** 2).sum(1).mean() / 2",
        "jax": "optax.l2_loss(Y_hat, y).sum(1).mean()",
        "tensorflow": "tf.nn.l2_loss(Y_hat - y) / tf.cast(len(y), y.dtype)",
        "numpy": "((Y_hat - y) ** 2).sum() / 2 / len(y), (Y_hat - y) / len(y)",
    },
    "sigmoid-cross-entropy": {
        "torch": "F.binary_cross_entropy_with_logits(Y_hat, y, reduction='none').sum(1).mean()",
        "jax": "optax.sigmoid_binary_cross_entropy(Y_hat, y).sum(1).mean()",
        "tensorflow": "tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(y, Y_hat))"
        " / tf.cast(len(y), y.dtype)",
        "numpy": "(np.logaddexp(0, Y_hat) - y * Y_hat).sum() / len(y),"
        " (1 / (1 + np.exp(-Y_hat)) - y) / len(y)",
    },
}
WORKLOAD = """
from tests.test_targets import LOSSES, declared
NET = declared(LOSSES[{loss!r}])
"""


def declared(loss: Loss, outputs: int = 3, **more: object) -> Declared:
    return declare(
        *("rows", Dense("W1", "b1", 6, 8), Tanh(), Dense("W2", "b2", 8, outputs)),
        loss=loss, optimiser=adam(0.01), init=fan_in_uniform, x=(6,), data="rows.npz",
        batch_size=32, epochs=2, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def written(folder: Path, loss: str, **formulas: str) -> dict[str, object]:
    """A folder with the workload, its data and a room for each framework: the plan's words."""
    (folder / "rows.py").write_text(WORKLOAD.format(loss=loss))
    random = np.random.default_rng(0)
    x = random.standard_normal((200, 6)).astype(np.float32)
    y = x[:, :3] + random.standard_normal((200, 3))
    y = y > 0 if loss == "sigmoid-cross-entropy" else y
    np.savez(folder / "rows.npz", x=x, y=np.float32(y))
    for framework, formula in (FORMULAS[loss] | formulas).items():
        room = folder / "rooms" / framework
        room.mkdir(parents=True)
        text = ROOMS[framework].replace("return LOSS", f"return {formula}")
        (room / "rows.py").write_text(
            f"LOSS = {loss!r}\n{text.replace('value, d = LOSS', f'value, d = {formula}')}"
        )
    words: dict[str, object] = {"workload": f"{folder}/rows.py:NET", "rooms": f"{folder}/rooms"}
    return words | {"profile": "smoke", "rounds": 1, "threads": 1}


@needs(*FRAMEWORKS[1:])
@pytest.mark.parametrize("loss", LOSSES)
def test_right_models_of_rows_of_numbers_agree_in_every_framework(tmp_path: Path, loss) -> None:
    """Two each; NumPy's other loss stands beside the wrong ones below."""
    labels = ("torch", "jax") if loss == "quadratic" else ("numpy", "tensorflow")
    made = carry_out(make_plan(backends=labels, **written(tmp_path, loss)), tmp_path)
    assert (made.json["verdict"], made.exit_status) == ("agree", 0), made.record.ended
    for label in labels:
        (trained,) = (t for t in made.record.results[label].training if t.dtype == "float32")
        assert trained.epoch_losses
        # Nothing is counted that is no class.
        assert [trained.test_accuracy, trained.confusion] == [[], []]
        assert made.record.results[label].churn == []
    assert made.record.differing == []
    shown = page.render(report(Run(made.record, made.verdict, made.folder), "page"))
    assert "Test accuracy by class" not in shown


@needs("torch")
def test_a_mean_over_the_numbers_too_is_caught(tmp_path: Path) -> None:
    """Torch's own loss, where nothing else is said."""
    words = written(tmp_path, "quadratic", torch="F.mse_loss(Y_hat, y)")
    made = carry_out(make_plan(backends=("numpy", "torch"), **words), tmp_path)
    assert made.exit_status == 1
    assert made.json["first_divergence"]["rung"] == "loss"
    assert made.rung("numpy", "loss") == "agree"


# -- what is counted -----------------------------------------------------------------------------


def test_classes_are_counted_where_there_are_any() -> None:
    vectors = declared(Quadratic()).workload
    assert vectors.outcome == ()
    numbers = np.array([[0.5, np.nan, -1.0], [1e30, 0.0, 2.0]])
    assert outcome.true_classes(vectors, numbers).tolist() == [-1, -1]
    assert outcome.predictions(vectors, numbers) is None
    binary = WORKLOADS["logistic-regression"]
    # Whatever numbers stand for the two, as predictions are told apart.
    halves = np.array([[0.0], [1.0], [-1.0], [0.9], [0.5]])
    assert outcome.true_classes(binary, halves).tolist() == [0, 1, 0, 1, 0]
    assert outcome.predictions(binary, halves).tolist() == [0, 1, 0, 1, 0]  # type: ignore[union-attr]
    of_classes = WORKLOADS["softmax-regression"]
    assert outcome.true_classes(of_classes, np.array([3, 0], np.uint8)).tolist() == [3, 0]


@pytest.mark.parametrize(
    ("metric", "outputs", "said"),
    [
        ("test accuracy", 3, "test accuracy is of targets that are classes"),
        ("training accuracy", 1, "training accuracy is of targets that are classes"),
        ("binary accuracy", 3, "binary accuracy is of one output"),
        ("binary accuracy", 1, ""),
        ("training loss", 3, ""),
    ],
)
def test_what_cannot_be_counted_of_numbers_is_refused(metric, outputs, said) -> None:
    counted = (Outcome(metric, margin=0.01),)
    if not said:
        declared(SigmoidCrossEntropy(), outputs, outcome=counted)
        return
    with pytest.raises(ValueError, match=said):
        declared(SigmoidCrossEntropy(), outputs, outcome=counted)


def test_binary_accuracy_is_of_no_classes() -> None:
    with pytest.raises(ValueError, match="a target that is a number"):
        declared(Quadratic("class"), outcome=(Outcome("binary accuracy", margin=0.01),))
