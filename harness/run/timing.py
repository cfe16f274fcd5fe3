"""Times steps in interleaved rounds between live workers, in one session or several.

The first session is timed in the workers whose numbers were measured; every other one in fresh
processes, because two processes of the same backend differ steadily by 2 %.
"""

from __future__ import annotations

import random

from harness.plan.model import CONTROL
from harness.progress import load
from harness.record.schema import Roof, Round
from harness.run.state import State
from harness.workers.pool import Key, checked

# A product large enough to be bound by arithmetic, small enough to take 30 ms; and a copy far
# beyond the caches (128 MB each way).
ROOF_SIZE = 1536
ROOF_COPY_BYTES = 128 * 2**20


def time_steps(state: State) -> None:
    """Every session of the plan; the workers are ended with their session."""
    timing = state.plan.timing
    for session in range(timing.sessions):
        keys = state.pool.live() if session == 0 else _surviving(state)
        replicates = [Key(key.label, key.dtype, 1) for key in keys if key.label == timing.again]
        if session:
            state.pool = state.new_pool(session)
        for key in replicates if session == 0 else [*keys, *replicates]:
            state.pool.start_one(state.record, key)
        state.pool.await_started(state.inputs.data())
        if session == 0 and not state.crew:
            measure_roofs(state)
        time_rounds(state, session)
        for key in state.pool.live():
            if state.crew:
                with state.pool.containing(key):
                    state.pool.note_usage(key)
            else:
                state.pool.say_goodbye(key)


def _surviving(state: State) -> list[Key]:
    """The labels whose processes went well in every session so far."""
    keys = []
    for label, configured in state.plan.labels.items():
        processes = state.record.results[label].processes
        own = [p.status for p in processes if p.dtype == configured.dtype]
        if all(p.status != "failed" for p in processes) and {*own} == {"ok"}:
            keys.append(Key(label, configured.dtype))
    return keys


def time_rounds(state: State, session: int) -> None:
    """One session's rounds: each worker one block a round, in random order."""
    timing = state.plan.timing
    full = state.inputs.epoch // state.plan.batch_size
    steps = timing.steps if full else 0
    total = timing.warmup_rounds + timing.rounds
    of = f", session {session + 1} of {timing.sessions}" if timing.sessions > 1 else ""
    state.progress.phase(f"timing steps{of}", total)
    shuffle = random.Random(f"{state.record.run} {session}")
    for round_ in range(total if steps else 0):
        keys = [key for key in state.pool.live() if state.pool.own(key)]
        shuffle.shuffle(keys)
        timed = round_ - timing.warmup_rounds
        for place, key in enumerate(keys):
            with state.pool.containing(key):
                block = state.pool.call(
                    key,
                    "block",
                    state=state.inputs.file(f"initial-{state.seed}"),
                    schedule=state.inputs.file(f"schedule-{state.seed}"),
                    first=round_ * steps % max(1, full - steps + 1),
                    warmup_steps=timing.warmup_steps,
                    steps=steps,
                    products=timing.products,
                    replay=timed == 0,
                    burst_steps=0 if timed % timing.burst_every else timing.burst_steps,
                )
                state.results(key).rounds.append(
                    checked(Round(session=session, round=round_, place=place, load=load(), **block))
                )
        state.progress.advance(round_ + 1)


def measure_roofs(state: State) -> None:
    """What every process reaches in a large product; the control also in a copy."""
    for key in state.pool.live():
        if key.replicate:
            continue
        control = state.plan.labels[key.label].backend == CONTROL
        copy_bytes = ROOF_COPY_BYTES if control else 0
        with state.pool.containing(key):
            best = state.pool.call(key, "roof", size=ROOF_SIZE, copy_bytes=copy_bytes)
            roof = Roof(label=key.label, dtype=key.dtype, size=ROOF_SIZE, **best)
            state.record.roofs.append(checked(roof))


def end_twins(state: State, *, judge: bool = False) -> None:
    """End the float64 processes beside float32 ones: timing wants a quiet machine.

    The one that judges, if one does, only with `judge`: evaluations are asked of it until then.
    """
    for key in state.pool.live() if not state.crew else ():
        judges = f"{key.label}:{key.dtype}" == state.plan.reference
        if not state.pool.own(key) and (judge or not judges):
            state.pool.say_goodbye(key)
