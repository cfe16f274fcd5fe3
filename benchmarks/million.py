"""Does a record of a million samples read, judge and report within seconds and half a gigabyte?

    python benchmarks/million.py RUN [--samples 1000000]

RUN is the folder of a stored run. Its trainings are stretched to three tenths of the samples, and
its rounds are repeated, in five sessions, until the rest is there: every list filled, times drawn
with replacement from the run's own (a fixed seed). The record goes to a temporary folder; then
`harness check` and `harness report` are run on it, each in a process of its own: wall seconds from
start to end, and peak resident memory as the system counts it. Exit status 1 where a bar is missed.
Imports the harness and NumPy; no framework.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# The bars, for a million samples.
MOST_SECONDS = 5.0
MOST_BYTES = 500e6

TRAINING_SHARE = 0.3
SESSIONS = 5
BURST_STEPS = 6
# What the training loop keeps of a step (step and loss, gather, put), and how often it looks.
SAMPLES_A_STEP = 3
CLOCKS_A_STEP = 8


def build(run: str, samples: int, folder: str) -> None:
    """Write the record, say how large it is and what storing and reading it took."""
    import msgspec
    import numpy as np

    from harness.record import samples as series
    from harness.record import store
    from harness.record.schema import Results, Round, Training

    record = store.read(Path(run))
    random = np.random.default_rng(0)
    batch = record.plan.workload.batch_size

    def drawn(values: list[int], length: int) -> list[int]:
        return random.choice(np.array(values, dtype=np.int64), length).tolist()

    def pools(results: Results) -> dict[str, list[int]]:
        """The times of a label's rounds by list; what was not timed is put at a microsecond."""
        fields = ("step_ns", "gather_ns", "put_ns", "warmup_ns", "products_ns")
        found = {f: [ns for r in results.rounds for ns in getattr(r, f)] or [1000] for f in fields}
        steps = np.array(found["step_ns"])
        return found | {
            "burst_ns": (BURST_STEPS * steps).tolist(),
            "drain_ns": found["put_ns"],
        }

    def stretched(training: Training, length: int) -> Training:
        times = training.step_ns or [1000]
        return msgspec.structs.replace(
            training,
            rows=[batch] * length,
            losses=list(itertools.islice(itertools.cycle(training.losses), length)),
            step_ns=drawn(times, length),
            gather_ns=drawn(training.gather_ns or [ns // 20 + 1 for ns in times], length),
            put_ns=drawn(training.put_ns or [ns // 50 + 1 for ns in times], length),
        )

    def repeated(results: Results, rounds: int) -> Iterator[Round]:
        """So many rounds in each session, each like one of the label's, with other times."""
        pool = pools(results)
        for session in range(SESSIONS):
            models = itertools.cycle(results.rounds)
            for number, model in zip(range(rounds), models, strict=False):
                yield msgspec.structs.replace(
                    model,
                    session=session,
                    round=number,
                    burst_steps=BURST_STEPS,
                    step_ns=drawn(pool["step_ns"], len(model.step_ns)),
                    gather_ns=drawn(pool["gather_ns"], len(model.gather_ns)),
                    put_ns=drawn(pool["put_ns"], len(model.put_ns)),
                    warmup_ns=drawn(pool["warmup_ns"], len(model.warmup_ns)),
                    products_ns=drawn(pool["products_ns"], len(model.products_ns)),
                    burst_ns=[
                        drawn(pool["burst_ns"], 1)[0],
                        2 * drawn(pool["burst_ns"], 1)[0],
                    ],
                    drain_ns=drawn(pool["drain_ns"], 2),
                )

    arms = [*record.results.values(), *record.again.values()]
    trainings = sum(len(results.training) for results in arms)
    length = round(TRAINING_SHARE * samples / (3 * trainings))
    for results in arms:
        results.training = [stretched(training, length) for training in results.training]
    timed = [results for results in arms if results.rounds]
    models = {id(results): results.rounds for results in timed}
    for results in timed:
        results.rounds = []
    left = samples - series.count(series.table(record))
    for results in timed:
        results.rounds = models[id(results)]
    one = [next(repeated(results, 1)) for results in timed]
    lists = ("step_ns", "gather_ns", "put_ns", "warmup_ns", "products_ns", "burst_ns", "drain_ns")
    of_one = sum(len(getattr(r, name)) for r in one for name in lists)
    rounds = -(-left // (of_one * SESSIONS))
    for results in timed:
        results.rounds = list(repeated(results, rounds))
        first = list(results.processes)
        timing = [p for p in first if p.dtype == record.plan.labels[p.label].dtype]
        results.processes = [p for p in first if p.session == 0] + [
            msgspec.structs.replace(process, session=session)
            for session in range(1, SESSIONS)
            for process in timing
            if process.session == 0
        ]
    timing = msgspec.structs.replace(record.plan.timing, sessions=SESSIONS, rounds=rounds)
    record.plan = msgspec.structs.replace(record.plan, timing=timing)

    before = time.perf_counter()
    rows = series.count(series.table(record))
    split_s = time.perf_counter() - before
    before = time.perf_counter()
    store.write(record, Path(folder))
    write_s = time.perf_counter() - before
    before = time.perf_counter()
    same = store.read(Path(folder)) == record
    read_s = time.perf_counter() - before
    sizes = ", ".join(f"{p.name} {p.stat().st_size / 1e6:.1f} MB" for p in Path(folder).iterdir())
    print(f"{rows} samples in {trainings} trainings and {rounds * SESSIONS * len(timed)} rounds")
    print(f"{sizes}; read back {'the same' if same else 'ANOTHER RECORD'}, {read_s:.2f} s")
    print(f"split {split_s / rows * 1e6:.2f} us a sample, write {write_s / rows * 1e6:.2f} us")
    step_ns = min(statistics.median(ns for r in m for ns in r.step_ns) for m in models.values())
    cost_ns = SAMPLES_A_STEP * write_s / rows * 1e9 + CLOCKS_A_STEP * clock_ns()
    print(f"recording a step costs {cost_ns / 1e3:.2f} us, {cost_ns / step_ns:.2%} of the fastest")
    sys.stdout.flush()
    if not same:
        sys.exit(1)


def clock_ns() -> float:
    """What one look at the clock costs, nanoseconds: the mean of many."""
    times = 200_000
    before = time.perf_counter_ns()
    for _ in range(times):
        time.perf_counter_ns()
    return (time.perf_counter_ns() - before) / times


def measured(verb: str, folder: str) -> tuple[float, float, int, int]:
    """`harness verb folder`: wall seconds, processor seconds, peak resident bytes, exit status.

    The system counts what a process's parent held before into its peak, so this one stays small.
    """
    before = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", verb, folder], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - before
    # Kilobytes on Linux.
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode


def main() -> int:
    """Build, measure, compare with the bars."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="folder of a stored run")
    parser.add_argument("--samples", type=int, default=1_000_000)
    given = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        builder = multiprocessing.get_context("spawn").Process(
            target=build, args=(given.run, given.samples, folder)
        )
        builder.start()
        builder.join()
        if builder.exitcode != 0:
            return 1
        for verb in ("check", "report"):
            seconds, busy_s, peak, status = measured(verb, folder)
            within = seconds < MOST_SECONDS and peak < MOST_BYTES and status in (0, 1)
            missed |= not within
            print(
                f"harness {verb}: {seconds:.2f} s (bar {MOST_SECONDS:g}; CPU {busy_s:.2f} s), "
                f"{peak / 1e6:.0f} MB (bar {MOST_BYTES / 1e6:.0f}), exit status {status}: "
                f"{'within' if within else 'MISSED'}"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
