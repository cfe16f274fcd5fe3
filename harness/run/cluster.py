"""Cells of a sweep as tasks of a Ray cluster that is there (extra `ray`); it schedules, not we.

A node of the cluster has this harness, the frameworks and the data where this machine has them.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from harness import files
from harness.errors import HarnessError, InputError
from harness.run import cell

# A task that is lost with its node is given to others so many times.
RETRIES = 5


class Cluster:
    """A connection to a cluster; `address`: "auto" for the one that is started here, or ray://…

    words: each cell's process is given.
    """

    def __init__(self, address: str, *words: str) -> None:
        self._words = words
        try:
            import ray
        except ImportError:
            raise InputError("--on ray: Ray is missing; pip install ray") from None
        self._ray: Any = ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"--on ray: no cluster at {address}: {error}") from None
        self._task = ray.remote(max_retries=RETRIES, scheduling_strategy="SPREAD")(in_a_folder)

    @property
    def processors(self) -> int:
        """Of all nodes together."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def carry_out(self, folder: Path, processors: int | None) -> str:
        """A cell on some node; its folder is brought back whole. What it said last, if it failed.

        processors: that it needs; None: all of a node, so that nothing runs beside it.
        """
        needed = processors or max(
            int(node["Resources"].get("CPU", 0)) for node in self._ray.nodes() if node["Alive"]
        )
        plan = files.read_bytes(folder / cell.PLAN, "plan")
        try:
            packed = self._ray.get(self._task.options(num_cpus=needed).remote(plan, self._words))
        except self._ray.exceptions.RayError as error:
            raise HarnessError(f"ray: {type(error).__name__}: {error}") from None
        with cell.alone(folder), tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            cell.clear(folder)
            tar.extractall(folder, filter="data")
        return cell.said(folder)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of it: tasks that still run are ended."""
        self._ray.shutdown()


def in_a_folder(plan: bytes, given: tuple[str, ...] = ()) -> bytes:
    """On a node: a plan carried out in a folder of its own; that folder, but its plan and lock."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="framework-harness-cell-") as made:
        folder = Path(made)
        (folder / cell.PLAN).write_bytes(plan)
        with (folder / cell.LOG).open("wb") as log:
            words = [sys.executable, "-m", "harness.run.cell", made, *given]
            # Its end is this process's: a task that is lost leaves nothing behind.
            with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=log, stderr=log) as process:
                process.wait()
            cell.tell_signal(log, process.returncode)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            # What says that the run is whole comes last, here as there.
            for name in (cell.LOG, cell.RUNS, cell.DONE):
                if os.path.lexists(folder / name):
                    tar.add(folder / name, name)
        return packed.getvalue()
