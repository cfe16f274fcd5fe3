"""Plug-ins that write where others keep their results."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from well import Backend, NumPyTrainer


def own_run() -> Path:
    """The folder of the run: a worker's stdout lies in it."""
    return Path(os.readlink("/proc/self/fd/1")).parent.parent


class Writes(Backend):
    """Does so when a training begins: the first steps are behind, and labels are still to come."""

    done = False

    def trainer(self, workload: Any) -> NumPyTrainer:
        made, begun = super().trainer(workload), type(self)
        set_params = made.set_params

        def first(params: Any) -> None:
            if not begun.done:
                begun.done = True
                self.write(own_run())
            set_params(params)

        made.set_params = first
        return made

    def write(self, run: Path) -> None:
        raise NotImplementedError


class Scribbles(Writes):
    """A record, a verdict and a page of its own, links, and things that are hard to remove."""

    def write(self, run: Path) -> None:
        (run / "record.json").write_text('{"schema": 4, "verdict": "agree"}')
        (run / "verdict.json").symlink_to(run.parent.parent.parent / "victim")
        (run / "report.html").write_text("<h1>agree</h1>")
        (run / "steps.parquet").mkdir()
        (run / "logs" / "another.stdout.txt").write_text("all is well")
        (run / "logs" / "a\x1b[2Jb\nc").write_text("")
        os.mkfifo(run / "pipe")
        (run / "deep" / "deeper").mkdir(parents=True)
        (run / "deep" / "deeper" / "file").write_text("")
        (run / "deep" / "deeper").chmod(0)


class ReplacesLogs(Writes):
    """The neighbour's words are gone, and a link leads to something of the user's."""

    def write(self, run: Path) -> None:
        log = run / "logs" / "numpy-float64.stderr.txt"
        log.unlink()
        log.symlink_to(run.parent.parent.parent / "victim")


class ReadOnly(Writes):
    def write(self, run: Path) -> None:
        (run / "logs").chmod(0o500)
        run.chmod(0o500)


class OtherRuns(Writes):
    def write(self, run: Path) -> None:
        other = run.parent / "20200101T000000-abcdef"
        (other / "record.json").write_text("{}")
        (other / "steps.parquet").unlink()


class Deletes(Writes):
    def write(self, run: Path) -> None:
        shutil.rmtree(run)


class InPlace(Writes):
    """A file where the results were."""

    def write(self, run: Path) -> None:
        shutil.rmtree(run.parent)
        run.parent.write_text("mine")


class ChangesTheData(Writes):
    """One pixel of all that every label is given."""

    def write(self, run: Path) -> None:
        with open(Path.cwd().parent / "x.npy", "r+b") as file:
            file.seek(1000)
            file.write(b"\x7f")
