"""Nielsen's convolutional ladder trained as its text does, in one framework, and how far it gets.

    python benchmarks/ladder.py --page results/reports/ladder.md [--backend jax] [--only NAME]

A training goes on from its last epoch: the accuracies of every epoch lie in --folder and its state
in --states, for each framework, variant and device its own. Nothing is judged here (`harness
compare` does that, for one epoch): the float64 reference would take hours.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from backends import BACKENDS
from harness import data
from harness.files import write_atomic
from harness.interface import Array
from harness.plan.model import DEVICES
from harness.record.facts import now, versions
from harness.report.tables import escape, table
from harness.tensors import load_tensors, save_tensors
from harness.workloads import WORKLOADS
from harness.workloads.reference import canonical

# Test accuracy in per cent, as the text has it.
TEXT = {
    "nielsen-conv-0": 97.80,
    "nielsen-conv-1": 98.78,
    "nielsen-conv-2": 99.06,
    "nielsen-conv-3": 99.23,
    "nielsen-conv-4": 99.37,
    "nielsen-conv-5": 99.43,
    "nielsen-conv-6": 99.60,
}
SEED = 0
# Images that are evaluated together.
ROWS = 1000


class Evaluated(NamedTuple):
    """After an epoch: shares that are right, and what the epoch took in seconds."""

    validation: float
    test: float
    seconds: float


class Training(NamedTuple):
    """One step of the ladder in one framework, as its file has it."""

    workload: str
    where: str
    known: str
    epochs: list[Evaluated]


def main() -> int:
    """Train what is asked for, as far as it is not done, and write the page."""
    parser = argparse.ArgumentParser(description="Train Nielsen's convolutional ladder.")
    parser.add_argument("--page", type=Path, default=Path("results/reports/ladder.md"))
    parser.add_argument("--folder", type=Path, default=Path("results/ladder"))
    parser.add_argument("--states", type=Path, default=Path(".cache/ladder"))
    parser.add_argument("--backend", default="jax", choices=tuple(BACKENDS))
    parser.add_argument("--variant", help="default: the framework's first")
    parser.add_argument("--device", default="cpu", choices=DEVICES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, help="no more than so many of each")
    parser.add_argument("--only", action="append", help="only this step (repeatable)")
    asked = parser.parse_args()
    for folder in (asked.folder, asked.states):
        folder.mkdir(parents=True, exist_ok=True)
    asked.variant = asked.variant or BACKENDS[asked.backend].variants[0]
    module = importlib.import_module(f"backends.{asked.backend}")
    backend = module.Backend(asked.device, "float32", asked.threads, asked.variant)
    for name in asked.only or TEXT:
        train(name, backend, asked)
        write_atomic(asked.page, page(asked.folder).encode())
    return 0


def train(name: str, backend: Any, asked: argparse.Namespace) -> None:
    """Train one step of the ladder from where it is to its last epoch."""
    file = asked.folder / f"{name}-{asked.backend}-{asked.variant}-{asked.device}.json"
    workload, done = WORKLOADS[name], read(file).epochs if file.exists() else []
    most = workload.epochs if asked.epochs is None else min(asked.epochs, workload.epochs)
    if len(done) >= most:
        return
    facts = backend.facts()
    on = "cpu" if facts["device"] == "cpu" else facts["device"]
    where = f"{asked.backend}:{asked.variant}, {on}"
    known = ", ".join(f"{name} {version}" for name, version in sorted(versions(facts).items()))
    dataset = data.of_workload(workload, warn=lambda line: print(line, file=sys.stderr))
    x, y = data.training_set(dataset, workload)
    test_x, test_y = data.evaluation_set(dataset, workload)
    size, trainer = workload.batch_size or len(x), backend.trainer(workload)
    kept = asked.states / file.stem
    start = load_tensors(f"{kept}-{len(done)}") if done else canonical.initial_state(workload, SEED)
    trainer.set_state(start)
    slots = [s for s in canonical.schedule(len(x), size, most) if s.epoch >= len(done)]
    order, before = np.zeros(0, int), time.perf_counter()
    step = len(done) * -(-len(x) // size)
    for place, slot in enumerate(slots):
        if slot.start == 0:
            order = canonical.epoch_order(SEED, slot.epoch, len(x), size)
        rows = order[slot.start : slot.stop]
        noise = canonical.noise(workload, SEED, step, len(rows))
        loss = trainer.step(trainer.put({"x": x[rows], "y": y[rows]} | noise))
        step += 1
        if place + 1 < len(slots) and slots[place + 1].epoch == slot.epoch:
            continue
        trainer.wait(loss)
        seconds = time.perf_counter() - before
        right = predicted(trainer, workload, test_x) == test_y
        tests = len(dataset.test_x)
        done.append(Evaluated(float(right[tests:].mean()), float(right[:tests].mean()), seconds))
        save_tensors(f"{kept}-{len(done)}", trainer.get_state())  # a kill here leaves the last one
        write_atomic(file, json.dumps(Training(name, where, known, done)).encode())
        Path(f"{kept}-{len(done) - 1}").unlink(missing_ok=True)
        print(f"{name} epoch {len(done)}: {done[-1].test:.2%}, {seconds:.0f} s", flush=True)
        before = time.perf_counter()
    trainer.close()


def predicted(trainer: Any, workload: Any, x: Array) -> Array:
    """The class of each image: int (n,)."""
    classes = []
    for at in range(0, len(x), ROWS):
        images = x[at : at + ROWS]
        batch = {"x": images, "y": np.zeros(len(images), np.int64)}
        put = trainer.put(batch | canonical.noise(workload, SEED, 0, len(images)))
        classes.append(trainer.outputs(put, training=False).argmax(axis=1))
    return np.concatenate(classes)


def read(file: Path) -> Training:
    """What is known of every epoch of a training so far."""
    name, where, known, epochs = json.loads(file.read_text())
    return Training(name, where, known, [Evaluated(*epoch) for epoch in epochs])


def page(folder: Path) -> str:
    """Accuracies beside the text's, with the epochs that were run."""
    known = sorted(map(read, folder.glob("*.json")), key=lambda of: (of.workload, of.where))
    rows = []
    for one in known:
        done, most = one.epochs, WORKLOADS[one.workload].epochs
        best = max(range(len(done)), key=lambda k: done[k].validation)
        rows.append(
            [
                one.workload,
                one.where,
                f"{len(done)} of {most}",
                f"{TEXT[one.workload]:.2f}",
                f"{100 * done[best].test:.2f} (epoch {best + 1})",
                f"{100 * done[-1].test:.2f}",
                f"{100 * done[0].test:.2f}",
                f"{statistics.median(of.seconds for of in done):.0f}",
            ]
        )
    header = ["step", "in", "epochs run", "the text, %", "at the best validation, %"]
    lines = [
        "# Nielsen's convolutional ladder, trained",
        "",
        (
            f"Test accuracy after whole epochs (float32, seed {SEED}), by benchmarks/ladder.py. "
            "The text reports the test accuracy at the epoch of the best validation accuracy, of "
            "its own start; a training that is not whole may still get further. Seconds of an "
            "epoch: the median, with whatever ran beside it, so no comparison of speed."
        ),
        "",
        *table([*header, "last epoch, %", "first epoch, %", "s an epoch"], rows),
        "",
        escape("; ".join((*sorted({of.known for of in known}), now()))),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
