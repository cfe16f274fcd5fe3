"""Times steps in interleaved rounds between live workers."""

from __future__ import annotations

import random

from harness.phases.state import State
from harness.record import Round


def time_steps(state: State) -> None:
    """Interleaved rounds: each worker one block a round, in random order."""
    timing = state.plan.timing
    full = len(state.course.x) // state.plan.workload.batch_size
    steps = min(timing.steps, full)
    total = timing.warmup_rounds + timing.rounds
    state.progress.phase("timing", total)
    shuffle = random.Random(state.record.run)
    for round_ in range(total if steps else 0):
        keys = state.crew.live()
        shuffle.shuffle(keys)
        for place, key in enumerate(keys):
            with state.crew.containing(key):
                block = state.crew.call(
                    key,
                    "block",
                    params=state.course.file(f"initial-{state.seed}"),
                    schedule=state.course.file(f"schedule-{state.seed}"),
                    first=round_ * steps % (full - steps + 1),
                    warmup_steps=timing.warmup_steps,
                    steps=steps,
                    products=timing.products,
                    replay=round_ == timing.warmup_rounds,
                )
                state.results(key).rounds.append(Round(round=round_, place=place, **block))
        state.progress.advance(round_ + 1)


def end_twins(state: State) -> None:
    """End the float64 processes beside float32 ones: timing wants a quiet machine."""
    for key in state.crew.live():
        if not state.crew.own(key):
            state.crew.say_goodbye(key)
