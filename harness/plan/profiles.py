"""The profiles as a table: what smoke, default and full measure, with the reasons."""

from __future__ import annotations

import math

import msgspec

from harness.interface import Workload
from harness.plan.model import Timeouts, Timing, Trajectory


class Profile(msgspec.Struct, frozen=True):
    """One row of the table of profiles (see Plan for the fields)."""

    steps: int | None
    checkpoints: tuple[int, ...] | None
    lockstep_epochs: int
    seeds: tuple[int, ...]
    timing: Timing
    trajectory: Trajectory
    small_steps: tuple[int, ...] = (0, -2)
    operators: bool = False


# The sizes of small batches: odd ones, where a kernel's tail and the mean over one sample show.
SMALL_SIZES = (7, 1)

# checkpoints: dense at first, where training changes fastest; -2 is the last full batch and -1 the
# short one. 760: the step whose unscreened batch flips a unit (seed 0, real data). None: all, which
# means the first ten, every tenth, and the last two.
TABLE: dict[str, Profile] = {
    "smoke": Profile(
        30,
        (0, 1, 10, -2, -1),
        1,
        (0,),
        Timing(sessions=1, rounds=5, burst_every=1),
        Trajectory(20, (20,)),
        small_steps=(0,),
    ),
    "default": Profile(
        None,
        (0, 1, 2, 5, 10, 20, 50, 200, 760, 1500, -2, -1),
        1,
        (0,),
        Timing(sessions=1, rounds=30),
        Trajectory(100, (20, 50, 100)),
    ),
    "full": Profile(
        None,
        None,
        10,
        (0, 1, 2, 3, 4),
        Timing(sessions=5, rounds=30),
        Trajectory(100, (20, 50, 100), late_from=3),
        small_steps=(0, 200, 760, 1500, -2),
        operators=True,
    ),
}

# A worker's part of a round, by the most FLOP of a step: warm-up steps, timed steps, sets of the
# floor's products. A block should last under 0.2 s, so that drift of a shared machine hits all
# workers alike; at some 200 GFLOP/s a step of 1 GFLOP takes 5 ms. Warming up takes time, not steps:
# both cores are a framework's again after some 30 ms (see `plan.Timing`), which is one step of the
# largest size.
BLOCKS = (
    (1e9, 18, 12, 6),
    (2e9, 8, 8, 4),
    (4e9, 4, 6, 2),
    (8e9, 2, 3, 1),
    (math.inf, 1, 2, 1),
)


# FLOP a second of the slowest code that is still waited for: float64 convolutions that a compiler
# makes loops of (TensorFlow's XLA on a CPU: .7e9). A batch is looked at as six steps are.
SLOWEST = 0.25e9


def within(workload: Workload) -> Timeouts:
    """How long a worker may take with steps of this size."""
    usual, step_s = Timeouts(), workload.work / SLOWEST
    if workload.work <= BLOCKS[0][0]:
        return usual
    return Timeouts(usual.start_s, usual.command_s + 6 * step_s, usual.per_step_s + step_s)


# More rounds than these a step of the last row is not worth.
MOST_ROUNDS = 8


def in_blocks(timing: Timing, workload: Workload) -> Timing:
    """The same with fewer steps a block where a workload's steps are large."""
    row = next(row for row in BLOCKS if workload.work <= row[0])
    if row == BLOCKS[0]:
        return timing
    _, warmup_steps, steps, products = row
    large = row == BLOCKS[-1]
    return msgspec.structs.replace(
        timing,
        warmup_steps=warmup_steps,
        steps=steps,
        products=products,
        burst_steps=0 if large else timing.burst_steps,
        rounds=min(timing.rounds, MOST_ROUNDS) if large else timing.rounds,
    )
