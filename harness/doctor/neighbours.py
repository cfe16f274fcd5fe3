"""What backends use of this machine, and what one that lies idle costs the next: for `doctor`.

Live workers, started as in a run, compute blocks as timing does: one at a time, in random order.
What happens in a worker that fails stands in its line; the others go on. Imports no framework.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from harness.doctor.lines import Line, told, unknown
from harness.interface import Array
from harness.plan.model import Plan
from harness.progress import Progress
from harness.run.session import empty_record
from harness.signals import undisturbed
from harness.tensors import save_tensors
from harness.verdict.timings import median_interval
from harness.workers.pool import Key, Pool
from harness.workers.scratch import scratch_folder
from harness.workloads.reference import canonical

# Blocks of a backend after each neighbour, unless time runs out first: 12 give the median ratio an
# interval (third smallest to third largest); below 6 there is none that holds in 95 of 100 cases.
ROUNDS, LEAST_ROUNDS = 12, 6
# Four backends on two quiet cores need 10 s.
MOST_S = 60.0
# OpenBLAS' spinning threads cost their neighbours 1.5 to 1.8 (TIMING.md); a shared machine alone
# moves such a median by some per cent.
MOST_COST = 1.15
# Sets of products over which processor time is taken: a tenth of a second at a millisecond each.
PRODUCTS = 100
# Of the threads asked for, so much must be at work on average: the small products of a step do
# not fill them all.
LEAST_USE = 0.7
# Processor time of so much of one more thread than asked for means that there are more.
MOST_EXTRA = 0.25
# Samples of a batch where a workload takes all there are.
ROWS = 256
# Pixels of a few batches, parameters and logs.
SCRATCH_BYTES = 100_000_000
# What a library says of float32 products that round their operands.
REDUCED = ("tf32", "bf16", "bfloat16", "high", "medium", "true")
# Not modes of float32 products: whether float64 exists.
NO_ROUNDING = ("x64",)


def examine_workers(plan: Plan, progress: Progress) -> list[Line]:
    """Every line that needs workers. InputError where a backend asked for by name cannot run."""
    # Nothing is compared: no float64 process beside the others.
    labels = {
        label: msgspec.structs.replace(configured, twin=False)
        for label, configured in plan.labels.items()
    }
    plan = msgspec.structs.replace(plan, labels=labels)
    with scratch_folder(SCRATCH_BYTES) as scratch:
        pool = Pool(plan, "doctor", scratch / "logs", scratch, progress)
        record = empty_record(plan, "doctor")  # of its processes; not stored
        try:
            files = _files(plan, scratch)
            pool.start(record)
            pool.await_started(files)
            used = _threads(pool)
            blocks = _blocks(pool, scratch, progress)
            for key in pool.live():
                pool.say_goodbye(key)
        finally:
            with undisturbed():
                pool.end_all()
    lines = []
    for label, results in record.results.items():
        (process,) = results.processes
        if process.status == "skipped":
            lines.append(unknown(label, process.reason or "skipped"))
        elif process.status == "failed":
            advice = f"see what it is with: harness run --profile smoke --backend {label}"
            lines.append(told(label, f"its worker failed: {process.reason}", advice))
        else:
            lines += [versions(label, process.facts), precision(label, process.facts)]
            lines += threads(label, used[label], plan.threads)
            own = {a: blocks[a, label] for a in record.results if (a, label) in blocks}
            lines.append(neighbours(label, own, plan.timing.warmup_steps))
    return lines


def versions(label: str, facts: Mapping[str, str]) -> Line:
    """What the worker says it runs."""
    shown = [
        f"{name.removeprefix('version:')} {value}"
        for name, value in facts.items()
        if name.startswith("version:") or name in ("python", "blas", "device")
    ]
    return told(f"{label} versions", ", ".join(shown))


def precision(label: str, facts: Mapping[str, str]) -> Line:
    """The precision modes in force, as the library tells of itself."""
    start = "precision:"
    modes = {n.removeprefix(start): value for n, value in facts.items() if n.startswith(start)}
    if not modes:
        return unknown(f"{label} precision", "its library does not tell")
    shown = ", ".join(f"{name} {value}" for name, value in modes.items())
    advice = "float32 products round their operands: the backend must pin its precision"
    reduced = any(v.lower() in REDUCED for name, v in modes.items() if name not in NO_ROUNDING)
    return told(f"{label} precision", shown, advice if reduced else "")


def threads(label: str, used: Mapping[str, Any], asked: int) -> list[Line]:
    """Thread libraries loaded in a worker (its answer to `threads`), and processors really used."""
    pools = [
        " ".join(filter(None, (pool["internal_api"], pool.get("version"))))
        + f": {pool['num_threads']}"
        for pool in used["libraries"]
    ]
    more = any(pool["num_threads"] > asked for pool in used["libraries"])
    limit = "a library that has more threads than asked for: the backend must limit it"
    share = used["cpu_ns"] / used["wall_ns"]
    advice = ""
    if share > asked + MOST_EXTRA:
        advice = "more threads compute than were asked for: the backend must limit them"
    elif share < LEAST_USE * asked:
        advice = "others hold the processors, or there are more threads than such small products "
        advice += "can use: quieten the machine, or use fewer --threads"
    shown = f"{share:.2f} of {asked} (processor time / time, {len(used['products_ns'])} times the "
    shown += f"products of a step, {statistics.median(used['products_ns']) / 1e6:.2f} ms each)"
    libraries = f"{', '.join(pools) or 'none that threadpoolctl knows'} (asked for: {asked})"
    return [
        told(f"{label} thread libraries", libraries, limit if more else ""),
        told(f"{label} processors used", shown, advice),
    ]


def cost(after: Sequence[float], own: Sequence[float]) -> tuple[float, bool]:
    """Step times after a neighbour by those after itself: the median ratio, and if it is too much.

    It is over MOST_COST, and not by chance. Ratios are formed within rounds.
    """
    ratios = [a / b for a, b in zip(after, own, strict=True)]
    factor = statistics.median(ratios)
    return factor, factor > MOST_COST and median_interval(ratios)[0] > 1


T = TypeVar("T")
Times = tuple[list[float], list[float]]  # a round each: median step in ns, of warm-up and of timed


def neighbours(label: str, blocks: Mapping[str, Times], warmup_steps: int) -> Line:
    """What a backend's steps take after each other one's, against after its own.

    blocks: by the label that computed just before.
    """
    topic = f"{label} after another"
    others = {a: times for a, times in blocks.items() if a != label}
    if not others:
        return told(topic, "no other backend is here")
    rounds = min(len(timed) for _, timed in blocks.values())
    if rounds < LEAST_ROUNDS:
        return unknown(topic, f"the machine is too busy: {rounds} rounds in {MOST_S:.0f} s")
    shown, slow, slow_first, advice = [], [], [], ""
    for before, times in others.items():
        (early, early_bad), (late, late_bad) = map(cost, times, blocks[label])
        shown.append(f"{before} x{late:.2f} (warm-up x{early:.2f})")
        slow += [before] * late_bad
        slow_first += [before] * early_bad
    if slow:
        advice = f"threads of {', '.join(slow)} go on after its work: give its process a variable "
        advice += "that puts them to sleep (as OPENBLAS_THREAD_TIMEOUT in backends/__init__.py), "
        advice += "or time the backends apart (--backend)"
    elif slow_first:
        advice = f"{', '.join(slow_first)} slows the first {warmup_steps} steps, which the harness "
        advice += "leaves out of figures: do so too where you time the two by turns"
    return told(topic, f"step time against that after its own: {', '.join(shown)}", advice)


def _files(plan: Plan, scratch: Path) -> dict[str, str]:
    """Data, state and order of one block: random pixels and labels, since no number counts."""
    rng = np.random.default_rng(0)
    workload = plan.workload
    rows = plan.timing.steps * (workload.batch_size or ROWS)
    x = rng.random((rows, *workload.x), dtype=np.float32)
    y: Array = rng.integers(2, size=(rows, *workload.outputs)).astype(np.float32)
    if workload.y == "class":
        y = rng.integers(workload.outputs[-1], size=rows)
    np.save(scratch / "x.npy", x)
    np.save(scratch / "y.npy", y)
    save_tensors(str(scratch / "initial"), canonical.initial_state(workload, 0))
    order = {
        "order": canonical.epoch_order(0, 0, rows)[None],
        "slots": np.zeros((0, 3), np.int64),
        "seed": np.array(0),
    }
    save_tensors(str(scratch / "schedule"), order)
    names = {"train_x": "x.npy", "train_y": "y.npy", "test_x": "x.npy", "test_y": "y.npy"}
    return {name: str(scratch / file) for name, file in names.items()}


def _threads(pool: Pool) -> dict[str, dict[str, Any]]:
    """Each worker's answer to `threads`, by label."""
    answers = {}
    for key in pool.live():
        with pool.containing(key):
            answers[key.label] = pool.call(key, "threads", products=PRODUCTS)
    return answers


def _blocks(pool: Pool, scratch: Path, progress: Progress) -> dict[tuple[str, str], Times]:
    """Blocks of every worker right after a block of every worker, by (before, measured)."""
    for key in pool.live():
        _block(pool, key, scratch)  # compiled here
    blocks: dict[tuple[str, str], Times] = {}
    shuffle = random.Random(0)
    ends = time.monotonic() + MOST_S
    progress.phase("does one backend slow the next one down?", ROUNDS)
    for done in range(ROUNDS):
        if time.monotonic() > ends:
            break
        before: Key | None = None
        for key in tour(pool.live(), shuffle):
            # Only one computes: the neighbour has answered when the next is asked.
            block = _block(pool, key, scratch)
            if block is not None and before is not None:
                warmup, timed = blocks.setdefault((before.label, key.label), ([], []))
                warmup.append(statistics.median(block["warmup_ns"]))
                timed.append(statistics.median(block["step_ns"]))
            before = key if block is not None else None
        progress.advance(done + 1)
    ended = {key.label for key in pool.processes} - {key.label for key in pool.live()}
    return {pair: times for pair, times in blocks.items() if not ended & {*pair}}


def tour(keys: Sequence[T], shuffle: random.Random) -> list[T]:
    """The keys in an order in which every one follows every one, itself included, exactly once.

    An Eulerian circuit of the complete directed graph with loops (Hierholzer's construction).
    """
    left = {key: shuffle.sample(list(keys), len(keys)) for key in keys}
    circuit, path = [], [*shuffle.sample(list(keys), min(1, len(keys)))]
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            circuit.append(path.pop())
    return circuit[::-1]


def _block(pool: Pool, key: Key, scratch: Path) -> dict[str, Any] | None:
    """One block as timing has them; None where the worker is no more."""
    timing = pool.plan.timing
    if key not in pool.workers:
        return None
    with pool.containing(key):
        return pool.call(
            key,
            "block",
            state=str(scratch / "initial"),
            schedule=str(scratch / "schedule"),
            first=0,
            warmup_steps=timing.warmup_steps,
            steps=timing.steps,
            products=timing.products,
            replay=False,
        )
    return None
