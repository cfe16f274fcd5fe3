"""The workloads: what is trained, as data, each with batches that real data never visits.

A workload's module has its `Workload` and a function that makes its probe batches; its judge
lives beside it. Imports NumPy; no framework.
"""

from __future__ import annotations

from harness.interface import Workload
from harness.workloads import mlp_scratch
from harness.workloads.probes import MakeProbes
from harness.workloads.reference.pieces import Reference

WORKLOADS: dict[str, Workload] = {mlp_scratch.WORKLOAD.name: mlp_scratch.WORKLOAD}
PROBES: dict[str, MakeProbes] = {mlp_scratch.WORKLOAD.name: mlp_scratch.probes}

REFERENCES: dict[str, Reference] = {"mlp-scratch": mlp_scratch.MLPScratchReference()}
