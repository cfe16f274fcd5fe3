"""The workloads: what is trained, as data, each with the judge that knows its right answers.

A workload module has `WORKLOAD` (the data) and `probes` (batches that real data never visits);
its reference lives in `harness/reference.py`. Imports no framework.
"""

from harness.interface import Workload
from harness.workloads.mlp_scratch import MLP_SCRATCH

WORKLOADS: dict[str, Workload] = {MLP_SCRATCH.name: MLP_SCRATCH}
