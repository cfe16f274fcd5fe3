"""How fast is a step of two convolutional nets beside plain loops and Keras `fit`?

    python benchmarks/convolution.py --page results/reports/convolution.md

nielsen-conv-2 and cifar-net, float32 on the CPU, in torch, JAX and TensorFlow: every variant of the
harness's trainer (step and wait), each in a process of its own, fresh in every session. In each the
loops that the framework's own users write, and Keras 3 `fit` on its engine, take turns with it,
round by round, on the same batches. A round gives the mean step, for an epoch of `fit` has no
other. Of a system and framework the variant with the least median step is held against the loops:
a session's ratio is the median of its rounds', the interval Student's t over sessions. A loop that
ends at other parameters is NOT COMPARED. Imports the harness; no framework, and not keras.

Status 0; 1 where a bar is missed, or something was not measured or not compared; 2 for words that
cannot be used.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import loops
from benchmarks.loops import Arm, Loop, Measured
from harness.report.tables import table
from harness.text import many
from harness.verdict.timing_stats import Ratio, ratio

SYSTEMS = ("nielsen-conv-2", "cifar-net")
KERAS = "Keras fit"
LOOPS = {
    "torch": {
        "nn.Module, torch.optim": Loop("torch", "eager"),
        "the same, torch.compile": Loop("torch", "compile"),
    },
    "jax": {"Flax, Optax, one jit": Loop("jax", "jit")},
    "tensorflow": {"GradientTape, tf.function by XLA": Loop("tensorflow", "xla")},
}
# Relative distance of all parameters from the trainer's, after all steps of a session. A unit that
# falls on the other side of 0 has moved them by 1e-4 in 360 steps of cifar-net.
LIMIT = 1e-3
BAR = 1.0  # ours / theirs
NONE = ["–", "–", "–"]


def beside(arm: Arm) -> dict[str, Loop]:
    """What takes turns with every variant of a framework."""
    return LOOPS[arm.backend] | {KERAS: Loop("keras", arm.backend)}


def environment(arm: Arm, scratch: Path) -> dict[str, str]:
    """Keras's engine; no GPU for any; and not the settings in the user's home."""
    keras = {"KERAS_BACKEND": arm.backend, "KERAS_HOME": str(scratch / "keras")}
    return keras | {"CUDA_VISIBLE_DEVICES": "-1"}


def step_ns(found: Measured, system: str, label: str) -> float:
    """The median of a variant's rounds, of all sessions; infinite where it was not measured."""
    if label in found.failed or (system, label) not in found.turns:
        return math.inf
    return statistics.median(ns for of in found.turns[system, label] for ns in of.harness_ns)


def best(found: Measured, system: str, backend: str) -> Arm | None:
    """The variant with the least median step; None where none was measured."""
    arms = loops.arms([backend])
    least = min(arms, key=lambda arm: step_ns(found, system, arm.label))
    return least if math.isfinite(step_ns(found, system, least.label)) else None


def variants(found: Measured, backends: Sequence[str]) -> list[list[str]]:
    """A line a system and label: its step in microseconds, and whether it is the best."""
    lines = []
    for system in SYSTEMS:
        for arm in loops.arms(backends):
            ns = step_ns(found, system, arm.label)
            told = f"{ns / 1e3:.1f}" if math.isfinite(ns) else "NOT MEASURED"
            mark = "best" if arm == best(found, system, arm.backend) else ""
            lines.append([system, arm.label, told, mark])
    return lines


def rows(found: Measured, backends: Sequence[str]) -> list[list[str]]:
    """A line a system, framework and loop: microseconds, ratio, distance, verdict."""
    lines = []
    for system in SYSTEMS:
        for backend in backends:
            arm = best(found, system, backend)
            for name in beside(Arm(backend, "")):
                if arm is None:
                    lines.append([system, backend, name, *NONE, "–", "NOT MEASURED"])
                else:
                    lines.append([system, arm.label, name, *cells(found, system, arm.label, name)])
    return lines


def cells(found: Measured, system: str, label: str, loop: str) -> list[str]:
    """Ours, theirs, the ratio, the distance, the verdict."""
    sessions, distance = found.turns[system, label], found.distance(system, label, loop)
    if not distance <= LIMIT:
        return [*NONE, f"{distance:.1e}", f"NOT COMPARED: limit {LIMIT:g}"]
    theirs_ns = statistics.median(ns for of in sessions for ns in of.loops_ns[loop])
    pairs = [zip(of.harness_ns, of.loops_ns[loop], strict=True) for of in sessions]
    step = ratio([statistics.median(math.log(a / b) for a, b in each) for each in pairs])
    within = "" if step.low is None else f" [{step.low:.3f}, {step.high:.3f}]"
    times = [f"{ns / 1e3:.1f}" for ns in (step_ns(found, system, label), theirs_ns)]
    return [*times, f"{step.value:.3f}{within}", f"{distance:.1e}", verdict(step)]


def verdict(step: Ratio) -> str:
    """Met where ours is no slower, or may be none: the interval holds the bar."""
    if not step.claimable:
        return f"{'met' if step.value <= BAR else 'missed'}, indicative"
    low, high = step.interval or (0.0, math.inf)
    if low <= BAR < high:
        return "met (the interval holds the bar)"
    return "met" if high <= BAR else "missed"


def markdown(found: Measured, asked: argparse.Namespace, started: str) -> list[str]:
    """The page."""
    with contextlib.suppress(PackageNotFoundError):
        found.versions.setdefault("keras", version("keras"))
    header = ["system", "ours", "beside", "ours, µs", "its, µs", "ours / its", "distance", "≤ 1"]
    return [
        "# A step of two convolutional nets beside plain loops and Keras",
        "",
        (
            "*Ours*: step and wait of a framework's best variant, the one with the least median "
            "step. *Beside*: what the framework's own users write, without the harness: a module "
            "and torch.optim, and torch.compile of the module; Flax and Optax in one jit with "
            "donated state; variables and GradientTape in tf.function(jit\\_compile=True); the "
            "loss a number after every step, the batches on the device before, as ours "
            "(benchmarks/by\\_hand). *Keras fit*: the same net in Keras 3 on that engine, "
            "images channels last, all else as Keras chooses: the time of an epoch over arrays on "
            "the host / its steps. It makes batches of them, which is in its time and in no "
            "other's, and has the loss once an epoch. nielsen-conv-2: batch 10; cifar-net: batch 4."
        ),
        "",
        (
            f"{many(asked.rounds, 'round')} of {many(asked.steps, 'step')} a session (of slow "
            "steps fewer), each the mean of its steps, all in turns within one process; "
            f"{loops.claim(asked)}. Ours / its: below 1 ours is faster; the bar is {BAR:g}, met "
            "too where the interval holds it. *Distance*: of its parameters from ours after all "
            f"steps (relative), the largest; beyond {LIMIT:g} it is not compared. Of `scan`, "
            f"which makes {STUDY.at_once} steps as one call, a step is a share of the call."
        ),
        "",
        *table(header, rows(found, asked.backend)),
        "Every variant of ours:",
        "",
        *table(["system", "label", "step, µs", ""], variants(found, asked.backend)),
        *loops.ending("convolution", found, asked, started),
    ]


STUDY = loops.Study(
    name="convolution",
    about=__doc__.splitlines()[0],
    systems=SYSTEMS,
    backends=tuple(LOOPS),
    beside=beside,
    step="fmean",
    budget_s=60.0,
    at_once=12,  # a run's blocks have as many
    rounds=10,
    steps=120,
    environment=environment,
    page=markdown,
)


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    return loops.main(STUDY, words)


if __name__ == "__main__":
    sys.exit(main())
