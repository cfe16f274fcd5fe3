"""The profiles as a table: what smoke, default and full measure, with the reasons."""

from __future__ import annotations

import msgspec

from harness.plan.model import Timing, Trajectory


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
