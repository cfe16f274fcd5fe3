"""The harness's conformance kit on Keras: `KERAS_BACKEND=jax FLOATX=float64 python -m pytest`.

Keras has one engine in a process and the harness one dtype, so a run of these tests has one each.
"""

import os

import keras_backend
import pytest

from harness.conformance import CHECKS, Subject
from harness.interface import Unavailable

CLASSES = {
    "torch": keras_backend.KerasTorch,
    "jax": keras_backend.KerasJax,
    "tensorflow": keras_backend.KerasTensorFlow,
}
ENGINE, FLOATX = os.environ.get("KERAS_BACKEND", "torch"), os.environ.get("FLOATX", "float32")
# XLA has a thread for each processor of its process.
THREADS = len(os.sched_getaffinity(0)) if ENGINE == "jax" else 1


@pytest.fixture(scope="module")
def subject():
    """One for all checks: a new trainer is compiled anew."""
    try:
        backend = CLASSES[ENGINE]("cpu", FLOATX, THREADS, "default")
    except Unavailable as reason:
        pytest.skip(str(reason))
    return Subject(backend, workload="mlp-scratch", dtype=FLOATX, threads=THREADS)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_it_conforms(check, subject):
    """What it is that must hold, its own docstring says."""
    check(subject)
