"""Every variant that is not a backend's default: it agrees, it copies, and it is refused where it
does not exist. Frameworks are reached in processes of their own: no framework is imported here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from backends import BACKENDS
from backends.arguments import check_backend
from backends.numpy import mlp_scratch
from harness.interface import Unavailable
from harness.plan.catalogue import as_text, describe
from harness.plan.make import missing
from harness.plan.model import Timing
from harness.workers.launch import WorkerUnavailable
from harness.workers.pool import open_worker
from harness.workloads.reference.limits import DECIDING
from tests.conftest import carry_out, clean_environment, needs, plant
from tests.make import make_plan

ON_CPU = [
    (name, variant)
    for name, entry in BACKENDS.items()
    for variant in entry.variants[1:]
    if entry.lacks_variant(variant, "cpu") is None
]
EVERYWHERE = [(n, v, d) for n, e in BACKENDS.items() for v in e.variants for d in e.devices]


@pytest.fixture
def start(tmp_path):
    """Start a worker with a variant on the CPU, as `session` does; ends it afterwards."""
    workers = []

    def start(name: str, variant: str) -> None:
        entry, plan = BACKENDS[name], make_plan(backends=("numpy",), threads=1)
        words = {"source": entry.source, "environment": entry.environment, "variant": variant}
        label = msgspec.structs.replace(plan.labels["numpy"], **words)
        plan = msgspec.structs.replace(plan, labels={name: label})
        place = {"run": "run", "logs": tmp_path, "scratch": tmp_path}
        workers.append(open_worker(plan, name, "float32", name=name, **place))
        workers[-1].answer()

    yield start
    for worker in workers:
        worker.end(grace_s=0)


@pytest.fixture(scope="module")
def variants(small_data, tmp_path_factory):
    """By whether torch compiles: one run of it alone, in float64, and one of all other variants.

    Every other size of a batch and dtype is another half minute of compiling with torch.
    """
    made = {}

    def run(compiling: bool):
        if compiling not in made:
            chosen = {
                f"{name}-{variant}": (name, variant)
                for name, variant in ON_CPU
                if not missing(name) and (variant == "compile") == compiling
            }
            hostile = plant("callers.py", "hostile")  # a caller that overwrites its own arrays
            plan = make_plan(
                profile="smoke",
                backends=tuple(f"{label}={name}" for label, (name, _) in chosen.items()),
                variants={label: variant for label, (_, variant) in chosen.items()},
                plants=dict.fromkeys(chosen, hostile),
                dtype="float64" if compiling else "float32",
                data_dir=str(small_data),
                threads=1,
                timeout_s=600.0,
            )
            plan = msgspec.structs.replace(plan, small_sizes=())
            made[compiling] = carry_out(plan, tmp_path_factory.mktemp("variants"))
        return made[compiling]

    return run


@pytest.mark.parametrize(("name", "variant"), ON_CPU)
def test_every_variant_agrees_in_both_dtypes_is_timed_and_aliases_nothing(name, variant, variants):
    if missing(name):
        pytest.skip(missing(name))
    outcome, label = variants(variant == "compile"), f"{name}-{variant}"
    assert outcome.json["verdict"] == "agree", outcome.verdict.labels[label].reason
    assert all(outcome.rung(label, rung) == "agree" for rung in DECIDING)
    entry = outcome.json["backends"][label]
    assert (entry["backend"], entry["variant"]) == (name, variant)
    assert entry["step_time"]["median_ns"] > 0
    dtypes = {m.dtype for m in outcome.record.results[label].measurements}
    assert dtypes == ({"float64"} if variant == "compile" else {"float32", "float64"})


@pytest.mark.parametrize("fault", ["aliasing_put", "handing_out_itself"])
def test_a_caller_that_overwrites_its_arrays_catches_a_backend_that_aliases(run_plan, fault):
    outcome = run_plan(
        backends=("numpy",),
        dtype="float64",
        plants={"numpy": plant("callers.py", fault)},
        change={"timing": Timing(sessions=1, rounds=0, warmup_rounds=0)},
    )
    if fault == "aliasing_put":
        assert outcome.json["first_divergence"]["rung"] == "inputs"
    else:
        assert "has changed" in outcome.verdict.labels["numpy"].reason


# -- what a device does not have -----------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant", "device"), EVERYWHERE)
def test_a_variant_is_refused_in_one_line_exactly_where_the_table_has_none(name, variant, device):
    found = BACKENDS[name].lacks_variant(variant, device)
    assert (found is not None) == ((name, variant, device) == ("torch", "cuda-graph", "cpu"))
    if found is None:
        check_backend(name, device, "float32", 1, variant, "strict")
    else:
        with pytest.raises(Unavailable) as caught:
            check_backend(name, device, "float32", 1, variant, "strict")
        assert str(caught.value) == "torch has no cuda-graph on cpu, only on cuda"


@pytest.mark.parametrize("entry", BACKENDS.values(), ids=list(BACKENDS))
def test_the_table_names_known_variants_and_devices_and_the_default_is_everywhere(entry):
    assert set(entry.variant_devices) <= set(entry.variants[1:])
    assert all(set(devices) < set(entry.devices) for devices in entry.variant_devices.values())


@needs("torch")
def test_a_worker_refuses_a_variant_that_its_device_does_not_have(start):
    with pytest.raises(WorkerUnavailable, match="torch has no cuda-graph on cpu, only on cuda"):
        start("torch", "cuda-graph")


@needs("torch")
def test_compiling_without_a_compiler_says_what_to_install(start, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(WorkerUnavailable, match=r"finds no no-such-compiler; install g\+\+"):
        start("torch", "compile")


def test_the_list_says_which_variant_exists_where():
    found = describe()
    assert found["backends"]["torch"]["variant_devices"]["cuda-graph"] == ["cuda"]
    assert found["backends"]["torch"]["variant_devices"]["eager"] == ["cpu", "cuda"]
    assert "eager, compile, cuda-graph (cuda only)  [" in as_text(found)


# -- many steps as one ---------------------------------------------------------------------------

# Trains twelve batches by `run` and by `step`; then by `run` with the last two batches swapped.
SCRIPT = """
import json, sys
import msgspec, numpy as np
from backends.jax import Backend
from harness.interface import RunsMany
from harness.workloads import WORKLOADS

variant, dtype = sys.argv[1:]
trainer = Backend("cpu", dtype, 1, variant).trainer(WORKLOADS["mlp-scratch"])
if not isinstance(trainer, RunsMany):
    print(json.dumps({"runs": False}))
    sys.exit()
rng = np.random.default_rng(5)
start = {p.name: 0.05 * rng.standard_normal(p.shape) for p in WORKLOADS["mlp-scratch"].tensors}
batches = [trainer.put({"x": rng.random((256, 784)), "y": rng.integers(0, 10, 256)})
           for _ in range(12)]

def after(train, batches):
    trainer.set_state(start)
    losses = train(batches)
    assert all(type(loss) is float for loss in losses)
    state = trainer.get_state()
    flat = np.concatenate([state[n].ravel() - start[n].ravel() for n in sorted(start)])
    return np.array(losses), flat

def singly(batches):
    return [trainer.wait(trainer.step(batch)) for batch in batches]

losses, moved = after(singly, batches)
again = after(trainer.run, batches)
kept = trainer.fetch(batches[3])
swapped = after(trainer.run, [*batches[:10], batches[11], batches[10]])
short = after(trainer.run, batches[:2])
assert all(np.array_equal(v, kept[n]) for n, v in trainer.fetch(batches[3]).items())

def distance(found):
    return [float(np.abs(found[0] - losses).max()),
            float(np.linalg.norm(found[1] - moved) / np.linalg.norm(moved))]

print(json.dumps({"runs": True, "steps": len(again[0]), "run": distance(again),
                  "swapped": distance(swapped),
                  "short": float(np.abs(short[0] - losses[:2]).max())}))
"""


def trained(variant: str, dtype: str, folder: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, variant, dtype],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


@needs("jax")
@pytest.mark.parametrize(("dtype", "digits"), [("float32", 1e-6), ("float64", 1e-14)])
def test_many_steps_as_one_are_the_same_single_steps(dtype, digits, tmp_path):
    found = trained("scan", dtype, tmp_path)
    assert found["steps"] == 12
    assert max(*found["run"], found["short"]) <= digits
    # Batches in another order are seen: the losses differ at once, the sum of updates hardly.
    assert found["swapped"][0] > 1e-3
    assert found["swapped"][1] > 10 * digits


@needs("jax")
def test_the_default_trainer_does_not_offer_many_steps_as_one(tmp_path):
    assert trained("jit", "float32", tmp_path) == {"runs": False}


# -- NumPy written plainly -----------------------------------------------------------------------


@pytest.mark.parametrize("special", [0.0, np.nan, np.inf, -np.inf])
def test_the_plain_model_treats_kinks_and_what_is_not_finite_as_the_buffered_one(special):
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((6, 5)).astype("f4"), rng.integers(0, 3, 6)
    kinds = mlp_scratch.Net, mlp_scratch.Buffered
    models = [kind(5, 3, 4, dtype="float32") for kind in kinds]
    for name in ("W1", "W2"):
        np.copyto(getattr(models[0], name), getattr(models[1], name))
    X[2], X[4] = 0, special  # sample 2: every unit exactly at its kink
    with np.errstate(all="ignore"):
        plain = mlp_scratch.loss_and_grads(models[0], X, y)
        in_place = mlp_scratch.buffered_loss_and_grads(models[1], X, y, scale=0.1)
    np.testing.assert_allclose(plain[0], in_place[0], rtol=1e-6)
    for name, grad in in_place[1].items():
        assert plain[1][name].dtype == grad.dtype
        np.testing.assert_allclose(0.1 * plain[1][name], grad, rtol=1e-5, atol=1e-8)
