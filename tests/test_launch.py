"""What a worker inherits: the parent's environment, less what would change numbers or threads."""

from __future__ import annotations

import pytest

from harness.workers.launch import REMOVED_VARIABLES, environment

NAMES = [name.replace("*", "SOMETHING") for name in REMOVED_VARIABLES]


@pytest.mark.parametrize("name", NAMES)
def test_a_variable_that_changes_numbers_or_threads_does_not_reach_a_worker(monkeypatch, name):
    monkeypatch.setenv(name, "planted")
    assert environment(2, {}).get(name) != "planted"


def test_other_variables_and_the_plans_own_do(monkeypatch):
    monkeypatch.setenv("LANG", "C")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    found = environment(2, {"OPENBLAS_THREAD_TIMEOUT": "4"})
    assert found["LANG"] == "C"
    assert found["OMP_NUM_THREADS"] == found["OPENBLAS_NUM_THREADS"] == "2"
    assert found["OPENBLAS_THREAD_TIMEOUT"] == "4"
    assert found["NVIDIA_TF32_OVERRIDE"] == "0"
