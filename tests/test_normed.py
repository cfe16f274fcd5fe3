"""A bias before batch norm, and batches that a variance cannot be taken of: right code is right.

Its clean twins in four frameworks, and what is planted in them, are test_generic_faults.py's.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.errors import InputError
from harness.measure import ladder, straying
from harness.plan.model import Plan
from harness.run.session import load_dataset
from harness.workloads.declare import Declared, declare, fan_in_uniform
from harness.workloads.reference import canonical, optimisers
from harness.workloads.reference.composed import Composed, Net
from harness.workloads.reference.limits import NOISE
from harness.workloads.reference.losses import SoftmaxCrossEntropy
from harness.workloads.reference.pieces import (
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    Relu,
    Residual,
)
from tests.conftest import Silent, harness, needs
from tests.faults.normed import NORMED
from tests.make import make_plan

NORM = BatchNorm("gamma", "beta", "mean", "var", 4)


@pytest.mark.parametrize(
    ("x", "layers", "least"),
    [
        ((5,), (Dense("W1", "b1", 5, 4), Relu()), 1),
        ((5,), (Dense("W1", "b1", 5, 4), NORM), 2),
        ((5,), (Dense("W1", "b1", 5, 4), Residual((NORM, Relu()))), 2),
        ((6, 6, 2), (Conv("K1", "c1", 2, 4, 3), NORM, Flatten()), 1),
        ((6, 6, 2), (Conv("K1", "c1", 2, 4, 6), NORM, Flatten()), 2),
    ],
    ids=["no norm", "dense", "in a block", "many positions", "one position"],
)
def test_a_net_knows_how_many_samples_a_step_needs(
    x: tuple[int, ...], layers: tuple[Layer, ...], least: int
) -> None:
    assert Net(x, layers, SoftmaxCrossEntropy()).least == least


def _data(folder: Path, rows: int) -> None:
    random = np.random.default_rng(0)
    sets = {"train": rows, "test": 20}
    arrays = {f"{name}_x": random.standard_normal((n, 5), np.float32) for name, n in sets.items()}
    arrays |= {f"{name}_y": random.integers(0, 3, n) for name, n in sets.items()}
    np.savez(folder / "normed.npz", **arrays)  # type: ignore[arg-type]


def _plan(folder: Path, rows: int) -> Plan:
    _data(folder, rows)
    here = Path(__file__).parent
    words = {"backends": ("numpy",), "rooms": str(here / "rooms")}
    plan = make_plan(f"{here / 'faults' / 'normed.py'}:NORMED", **words)
    workload = msgspec.structs.replace(plan.workload, data=str(folder / "normed.npz"))
    return msgspec.structs.replace(plan, workload=workload)


def test_an_epoch_that_leaves_one_sample_is_refused_where_a_variance_is_taken(
    tmp_path: Path,
) -> None:
    _, dataset = load_dataset(_plan(tmp_path, 34), Silent())
    assert len(dataset.train_x) == 34
    with pytest.raises(InputError) as refused:
        load_dataset(_plan(tmp_path, 33), Silent())
    assert "33 training samples in batches of 16 leave a last one of 1" in str(refused.value)


def _noise(of: Declared, seed: int) -> tuple[straying.Noise, ladder.Wanted]:
    """What replicas stray on a batch, and what the judge says of it in float64."""
    random, workload = np.random.default_rng(seed), of.workload
    state = canonical.initial_state(workload, seed)
    batch = {
        "x": random.standard_normal((16, 5), np.float32),
        "y": random.integers(0, 3, 16),
        "U": random.random((16, 6), np.float32),
    }
    judge = Composed(of.net)
    found = straying.find_noise(judge, workload, state, batch, centred=False)
    return found, ladder.Wanted.of(judge, workload, state, batch, "float64")


@pytest.mark.parametrize("seed", range(4))
def test_a_gradient_that_is_nothing_but_rounding_has_the_noise_of_rounding(seed: int) -> None:
    found, wanted = _noise(NORMED, seed)
    # Far below the last place of what it is taken from, so no replica's update shows it.
    assert np.linalg.norm(wanted.changes["b1"]) < 1e-15
    for dtype, of_dtype in (("float32", ()), ("float64", ("float64",))):
        for rung, tensor in (("gradients", "b1"), ("update", "b1"), ("update", "b1/velocity")):
            noise = found[rung, tensor, *of_dtype]
            assert noise > (1e3 if dtype == "float32" else straying.UNKNOWN / 2), (rung, tensor)
    # What has digits keeps its limits.
    for (_, tensor, *_), noise in found.items():
        assert noise < 1e-5 or tensor.startswith("b1"), tensor


def test_a_linear_rule_hands_a_gradients_noise_on_to_its_update() -> None:
    found, _ = _noise(NORMED, 0)
    # The first step's velocity is 0: the change is the gradient, times lr.
    assert found["update", "W1"] >= found["gradients", "W1"] > 0


@pytest.mark.parametrize("rule", [optimisers.rmsprop, optimisers.adagrad, optimisers.adam])
def test_what_the_limit_of_a_gradient_admits_the_limits_of_its_slots_admit(rule) -> None:
    """A framework's rounding of a gradient that is 0 may be thrice a replica's; its square is 9."""
    optimiser, net = rule(0.01), NORMED.net
    made = declare("squared", *net.layers, loss=net.loss, optimiser=optimiser, init=fan_in_uniform,
                   x=(5,), data="normed.npz", batch_size=16, epochs=1)  # fmt: skip
    random = np.random.default_rng(0)
    found, wanted = _noise(made, 0)
    for name, grad in wanted.grads.items():
        most = NOISE * found["gradients", name] * np.linalg.norm(grad)
        one, spread = np.zeros_like(grad), random.standard_normal(grad.shape)
        one.flat[np.argmax(np.abs(grad))] = 1.0
        for way in (one, spread):
            off = grad + 0.99 * most * way / np.linalg.norm(way)
            _, slots = optimisers.moved(optimiser, wanted.state, {name: off})
            for slot in set(slots) - {"step"}:
                want = wanted.after[slot]
                distance = np.linalg.norm(slots[slot] - want) / np.linalg.norm(want)
                assert distance <= NOISE * found["update", slot], (slot, distance)
    # What has digits keeps its limits.
    for (_, tensor, *_), noise in found.items():
        assert noise < 1e-5 or tensor.startswith("b1"), tensor


@needs("torch")
def test_what_the_running_variance_is_over_is_named_beside_a_bias_before_the_norm(
    tmp_path: Path,
) -> None:
    """Batches of one, and a gradient of rounding alone, once stood between it and its name."""
    here = Path(__file__).parent / "faults"
    shutil.copy(here / "normed.py", tmp_path)
    _data(tmp_path, 320)
    plant = f"{here / 'conventions_torch.py'}:running_over_n"
    words = ("--workload", "normed.py:NORMED", "--rooms", str(here.parent / "rooms"))
    done = harness(
        *("compare", "--profile", "smoke", *words, "--backend", "numpy", "--backend", "torch"),
        *("--plant", f"torch={plant}", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 1, done.stderr
    verdict = json.loads(done.stdout)
    # Nothing of the bias is off in either.
    assert "numpy agree" in verdict["summary"]
    first = verdict["first_divergence"]
    assert (first["label"], first["rung"], first["tensor"]) == ("torch", "update", "var")
    (why,) = first["explanation"]
    assert why["sentence"] == "the running variance is over n, not over n - 1, in var"
    assert why["left"] < 1e-13


def test_a_bias_before_the_norm_is_certified_whose_gradient_is_rounding(tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "faults" / "normed.py", tmp_path)
    _data(tmp_path, 320)
    words = ("--workload", "normed.py:NORMED", "--rooms", str(Path(__file__).parent / "rooms"))
    done = harness(*("certify", "numpy", *words, "--check", "finite-differences"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
