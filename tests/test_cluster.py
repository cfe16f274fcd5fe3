"""A sweep on a Ray cluster of three nodes, one of which is killed: the verdicts of a local one."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import clean_environment, harness, run_here

ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
WORDS = ("--profile", "smoke", "--backend", "numpy", "--workload", "nielsen-neuron")
SEEDS = ("--seeds", "0-3")
# Three nodes of two processors each; "kill" on stdin ends one.
NODES = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
nodes = [cluster.add_node(num_cpus=2) for _ in range(3)]
cluster.wait_for_nodes()
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(nodes.pop(), allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""


def told(results: Path) -> dict[str, Any]:
    """What every cell measured, by seed: all that is not of a time or a place."""
    found = {}
    for record in (results / "sweeps" / "cells").glob("*/runs/*/record.json"):
        document = json.loads(record.read_text())
        (seed,) = document["plan"]["seeds"]
        assert seed not in found
        found[seed] = [
            {k: m[k] for k in ("rung", "case", "dtype", "tensor", "distance")}
            for m in document["results"]["numpy"]["measurements"]
        ]
    return found


@ray
def test_one_of_three_nodes_is_killed_and_every_verdict_is_that_of_a_local_sweep(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", NODES],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as nodes:
        assert nodes.stdin is not None
        assert nodes.stdout is not None
        address = nodes.stdout.readline().strip()
        assert address
        running = subprocess.Popen(
            [sys.executable, "-m", "harness", "sweep", *WORDS, *SEEDS, "--on", "ray"],
            cwd=there,
            env=clean_environment() | {"RAY_ADDRESS": address},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(8)
        nodes.stdin.write("kill\n")
        nodes.stdin.flush()
        assert nodes.stdout.readline() == "killed\n"
        said, problems = running.communicate(timeout=300)
        assert running.returncode == 0, problems
        assert "1 of 1 workloads agree" in said
    assert harness("sweep", *WORDS, *SEEDS, cwd=here).returncode == 0
    assert told(there / "results") == told(here / "results")
    assert len(told(here / "results")) == 4


@ray
def test_where_there_is_no_cluster_that_is_said(tmp_path: Path) -> None:
    done = harness("sweep", *WORDS, *SEEDS, "--on", "ray", cwd=tmp_path)
    assert done.returncode == 2
    assert "--on ray: no cluster at auto" in done.stderr.splitlines()[-1]


def test_another_place_is_refused_and_so_is_one_without_ray(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_here(monkeypatch, "sweep", *WORDS, "--on", "mars") == 2
    assert "--on mars: choose from local, ray" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run_here(monkeypatch, "sweep", *WORDS, "--on", "ray") == 2
    assert "Ray is missing; pip install ray" in capsys.readouterr().err
