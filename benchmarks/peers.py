"""How fast is our loop beside what people would otherwise use? Ratios, taken in alternation.

    python benchmarks/peers.py --sessions 5 --rounds 6 --out FILE.json [--data-dir DIR]

Peers are Keras 3 `fit` on each of its three engines, and the loop of the book in torch
(`keras_fit.py`, `book_loop.py`, which run in a worker's process). Ours are real harness workers
that train freely. All start from the canonical parameters and see the same batches in the same
order, with the same threads, processors and environment. All processes of a session are alive and
one computes at a time: each round goes round them once, in random order; a call is one epoch of
full batches. A session's value is the median over its rounds of log(our time / the peer's); the
interval is Student's t over sessions, each in fresh processes. Every call's parameters are
compared with ours: a peer that computed something else is NOT COMPARED. Imports the harness; no
framework, and not keras.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from backends import BACKENDS
from harness import data
from harness.errors import InputError
from harness.interface import State, Workload
from harness.measure import ladder
from harness.record.facts import describe_dataset, describe_machine, now
from harness.record.schema import DatasetFacts
from harness.signals import as_interrupt, undisturbed
from harness.tensors import load_tensors, save_tensors
from harness.verdict.timing_stats import MIN_SESSIONS, Ratio, ratio, within
from harness.workers.launch import Worker, WorkerFailed, WorkerUnavailable, environment
from harness.workers.scratch import REST_BYTES, scratch_folder
from harness.workloads import DEFAULT, WORKLOADS
from harness.workloads.reference import canonical

WORKLOAD = WORKLOADS[DEFAULT]
assert WORKLOAD.batch_size is not None
BATCH_SIZE = WORKLOAD.batch_size
SEED = 0
# Relative distance of all parameters from ours, as one vector. Correct peers were 1e-7 to 3e-7 away
# after an epoch; a ReLU unit that rounding flips costs some 1e-5, a learning rate wrong by a
# thousandth 1.2e-3.
LIMIT = 1e-4
EPOCH_STEPS = 234  # full batches of an epoch of the real set
START_S, CALL_S = 300.0, 300.0
EVALUATED_ROWS = 256  # `train` evaluates where a loop ends, outside of the loop's time
CHOSEN = ("jit_compile", "run_eagerly", "steps_per_execution")  # what Keras tells of itself
HERE = Path(__file__).resolve().parent


class Arm(msgspec.Struct, frozen=True):
    """One process of a session. `against`: which of ours a peer is compared with ("": is ours).

    `bar`: what our loop / its call must not exceed; from the design, CPU, two threads.
    """

    label: str
    source: str
    variant: str
    environment: dict[str, str] = {}
    against: str = ""
    bar: float | None = None
    workload: Workload = WORKLOAD


def _keras(engine: str, bar: float) -> Arm:
    # No GPU, and not the settings (float type, engine) in the user's home.
    variables = {"KERAS_BACKEND": engine, "CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
    if engine == "tensorflow":
        variables |= BACKENDS["tensorflow"].environment
    return Arm(f"Keras fit, {engine}", "keras_fit:Backend", engine, variables, engine, bar)


PEERS = (
    _keras("torch", 0.55),
    _keras("jax", 1.0),
    _keras("tensorflow", 0.6),
    Arm("the book's loop, 4 loading processes", "book_loop:Backend", "4", against="torch"),
    Arm("the book's loop, no loading process", "book_loop:Backend", "0", against="torch"),
)


def ours(backend: str) -> Arm:
    """One of the harness's backends, its default variant."""
    entry = BACKENDS[backend]
    return Arm(backend, entry.source, entry.variants[0], dict(entry.environment))


class Call(msgspec.Struct):
    """One call of many steps.

    `call_ns`: all of it; of ours, the loop, gathering and putting included. `epoch_ns`: of a peer,
    the epoch in the call; of ours, the loop. `distance`: of a peer's parameters from ours of the
    same round.
    """

    call_ns: int
    epoch_ns: int
    distance: float | None = None


class Series(msgspec.Struct):
    """An arm in one session: its first call (compilation is in it), then one call a round."""

    facts: dict[str, str]
    calls: list[Call]


class Row(msgspec.Struct, kw_only=True):
    """A peer's line of the table.

    `loop`: our loop / its whole call; `epoch`: the same / its epoch, without what its call prepares
    before. `distance`: the largest of all its calls. `first_s`, `our_first_s`: the first call,
    all its steps included, median over sessions. `reason`: why there are no figures.
    """

    peer: str
    against: str
    bar: float | None
    verdict: str
    loop: Ratio | None = None
    epoch: Ratio | None = None
    distance: float | None = None
    first_s: float | None = None
    our_first_s: float | None = None
    reason: str = ""


class Result(msgspec.Struct, kw_only=True):
    """What was measured, and how: everything that the page and the JSON file tell."""

    started: str
    machine: dict[str, str]
    dataset: DatasetFacts
    threads: int
    sessions: int
    rounds: int
    steps: int
    batch_size: int
    limit: float
    rows: list[Row]
    facts: dict[str, dict[str, str]]
    series: list[dict[str, Series]]


def measure_peers(
    dataset: data.Dataset,
    *,
    sessions: int,
    rounds: int,
    steps: int = EPOCH_STEPS,
    threads: int = 2,
    peers: Sequence[Arm] = PEERS,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Measure all peers beside ours: `steps` steps a call, `rounds` timed calls a session.

    `steps` is cut to the full batches there are. No process is left behind, whatever happens.
    """
    steps = min(steps, len(dataset.train_y) // BATCH_SIZE)
    started = now()
    arms = [ours(name) for name in dict.fromkeys(peer.against for peer in peers)] + list(peers)
    failed: dict[str, str] = {}
    series: list[dict[str, Series]] = []
    with scratch_folder(REST_BYTES + 4 * dataset.train_x.size) as scratch:
        files = Files(scratch, dataset, steps)
        for number in range(sessions):
            say(f"peers: session {number + 1} of {sessions}")
            session = Session(files, number, threads, failed)
            alive = [arm for arm in arms if arm.label not in failed]
            series.append(session.measure(alive, rounds))
    for label, reason in failed.items():
        say(f"peers: {label}: {reason}")
    return Result(
        started=started,
        machine=describe_machine(),
        dataset=describe_dataset(dataset),
        threads=threads,
        sessions=sessions,
        rounds=rounds,
        steps=steps,
        batch_size=BATCH_SIZE,
        limit=LIMIT,
        rows=[row(peer, series, failed) for peer in peers],
        facts={label: found.facts for each in reversed(series) for label, found in each.items()},
        series=series,
    )


class Files:
    """The numbers of all sessions, made once, as files in the scratch folder.

    The rows lie in the order in which they are taken, for everybody: ours gather them one after the
    other from the file that they map, as peers slice what they hold. Peers get the uint8 images.
    """

    def __init__(self, scratch: Path, dataset: data.Dataset, steps: int) -> None:
        self.scratch = scratch
        self.steps = steps
        x, y = data.training_set(dataset, WORKLOAD)
        rows = canonical.epoch_order(SEED, 0, len(y), BATCH_SIZE)[: steps * BATCH_SIZE]
        slots = canonical.schedule(len(rows), BATCH_SIZE, 1, steps)
        initial = canonical.initial_state(WORKLOAD, SEED)
        self.names = list(initial)
        arrays = {"x": x[rows], "y": y[rows]}
        arrays |= {f"test_{name}": of[:EVALUATED_ROWS] for name, of in arrays.items()}
        for name, array in arrays.items():
            np.save(self.path(f"{name}.npy"), array)
        order = np.arange(len(rows), dtype=np.int64)
        given = {"order": order[None], "slots": np.array(slots, dtype=np.int64)}
        save_tensors(self.path("schedule"), given | {"seed": np.array(SEED)})
        save_tensors(self.path("initial"), initial)
        save_tensors(self.path("held"), {"0": dataset.train_x[rows], "1": arrays["y"]})
        numbered = {str(i): value for i, value in enumerate(initial.values())}
        save_tensors(self.path("numbered"), numbered)
        save_tensors(self.path("nothing"), {})

    def path(self, name: str) -> str:
        """A file of the scratch folder."""
        return str(self.scratch / name)


class Session:
    """Fresh processes for some arms; what fails is put into `failed` with its reason."""

    def __init__(self, files: Files, number: int, threads: int, failed: dict[str, str]) -> None:
        self._files = files
        self._number = number
        self._threads = threads
        self._failed = failed
        self._workers: dict[str, Worker] = {}
        self._logs = files.scratch / f"logs-{number}"

    def measure(self, arms: Sequence[Arm], rounds: int) -> dict[str, Series]:
        """Start all, call each once, then once in each round; the arms that failed are left out."""
        self._logs.mkdir()
        found: dict[str, Series] = {}
        shuffle = random.Random(self._number)
        try:
            for arm in arms:
                with self._containing(arm):
                    self._start(arm)
            for arm in self._alive(arms):
                with self._containing(arm):
                    found[arm.label] = self._begin(arm)
            for _ in range(1 + rounds):  # the first call is not of a round
                states: dict[str, State] = {}
                going = self._alive(arms)
                shuffle.shuffle(going)
                for arm in going:
                    with self._containing(arm):
                        call, states[arm.label] = self._call(arm)
                        found[arm.label].calls.append(call)
                for arm in self._alive(arms):
                    if arm.against in states:
                        want = states[arm.against]
                        found[arm.label].calls[-1].distance = distance(states[arm.label], want)
        finally:
            with undisturbed():
                for label in list(self._workers):
                    self._workers.pop(label).end(grace_s=0)
        return {label: series for label, series in found.items() if label not in self._failed}

    def _alive(self, arms: Sequence[Arm]) -> list[Arm]:
        return [arm for arm in arms if arm.label in self._workers]

    @contextlib.contextmanager
    def _containing(self, arm: Arm) -> Iterator[None]:
        """What a process does wrong ends that process only."""
        try:
            yield
        except (WorkerFailed, WorkerUnavailable) as error:
            self._failed[arm.label] = " ".join(str(error).split())
            if arm.label in self._workers:
                self._workers.pop(arm.label).end(grace_s=0)

    def _start(self, arm: Arm) -> None:
        scratch = self._files.scratch
        paths = [str(HERE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        extra = arm.environment | {"PYTHONPATH": os.pathsep.join(paths)}
        extra["KERAS_HOME"] = str(scratch / "keras")  # the user's own settings are not ours to use
        env = environment(self._threads, extra)
        run = f"peers-{self._number}"
        worker = Worker(arm.label, run, sys.executable, env, self._threads, self._logs, scratch)
        self._workers[arm.label] = worker
        worker.ask(
            "start",
            START_S,
            source=arm.source,
            device="cpu",
            dtype="float32",
            threads=self._threads,
            variant=arm.variant,
            workload=msgspec.to_builtins(arm.workload),
            plant=None,
            memory_headroom=None,
        )

    def _begin(self, arm: Arm) -> Series:
        """Wait until a process has imported, and give it its data."""
        facts = self._workers[arm.label].answer()["facts"]
        if not arm.against:
            self._workers[arm.label].call(
                "data",
                CALL_S,
                train_x=self._files.path("x.npy"),
                train_y=self._files.path("y.npy"),
                test_x=self._files.path("test_x.npy"),
                test_y=self._files.path("test_y.npy"),
            )
        else:
            self._ask(arm, "hold", "held")
            if arm.source == "keras_fit:Backend":
                chosen = self._ask(arm, "chosen", "nothing")
                facts |= {name: str(int(value)) for name, value in zip(CHOSEN, chosen, strict=True)}
        return Series(facts | {"variant": arm.variant}, [])

    def _ask(self, arm: Arm, name: str, given: str) -> list[np.ndarray]:
        """One of a peer's operators: arrays from a file, arrays back."""
        out = self._files.path("answer")
        worker, file = self._workers[arm.label], self._files.path(given)
        worker.call("op", CALL_S, name=name, given=file, out=out)
        answer = load_tensors(out)
        return [answer[str(i)] for i in range(len(answer))]

    def _call(self, arm: Arm) -> tuple[Call, State]:
        """All steps once, from the canonical start; what it took, and the parameters after it."""
        files = self._files
        if arm.against:
            call_ns, epoch_ns, *after = self._ask(arm, "fit", "numbered")
            state = dict(zip(files.names, after, strict=True))
            return Call(int(call_ns), int(epoch_ns)), state
        self._workers[arm.label].call(
            "train",
            CALL_S,
            state=files.path("initial"),
            schedule=files.path("schedule"),
            snapshots=[],
            evaluations=[files.steps - 1],  # a loop's time ends at an evaluation
            at_once=2,  # steps are queued, as in any run
            out=files.path(""),
        )
        series = load_tensors(files.path("series"))
        state = {name: series[f"final.{name}"] for name in files.names}
        loop_ns = int(series["epoch_ns"][0])
        return Call(loop_ns, loop_ns), state


def distance(state: State, want: State) -> float:
    """Relative distance of all parameters as one vector; infinite for what cannot be compared."""
    if any(state[name].shape != value.shape for name, value in want.items()):
        return math.inf
    found = ladder.together(state, {n: v.astype(np.float64) for n, v in want.items()})[0]
    return found if math.isfinite(found) else math.inf


def session_log_ratio(ours_ns: Sequence[int], peer_ns: Sequence[int]) -> float:
    """A session's value: the median over its rounds of log(our time / the peer's)."""
    pairs = zip(ours_ns, peer_ns, strict=True)
    return statistics.median(math.log(mine / theirs) for mine, theirs in pairs)


def row(peer: Arm, series: Sequence[dict[str, Series]], failed: dict[str, str]) -> Row:
    """A peer's line; figures only where all its calls agreed with ours."""
    found = Row(peer=peer.label, against=peer.against, bar=peer.bar, verdict="not run")
    for label in (peer.label, peer.against):
        if label in failed:
            found.reason = failed[label] if label == peer.label else f"{label}: {failed[label]}"
            return found
    both = [(each[peer.against], each[peer.label]) for each in series]
    distances = [call.distance for _, theirs in both for call in theirs.calls]
    found.distance = max(math.inf if d is None else d for d in distances)
    if not found.distance <= LIMIT:
        found.verdict = "NOT COMPARED"
        found.reason = f"its parameters are {found.distance:.2g} from ours, limit {LIMIT:g}"
        return found
    found.first_s = statistics.median(theirs.calls[0].call_ns for _, theirs in both) / 1e9
    found.our_first_s = statistics.median(mine.calls[0].call_ns for mine, _ in both) / 1e9
    loops, epochs = [], []
    for mine, theirs in both:
        loop = [call.call_ns for call in mine.calls[1:]]
        loops.append(session_log_ratio(loop, [call.call_ns for call in theirs.calls[1:]]))
        epochs.append(session_log_ratio(loop, [call.epoch_ns for call in theirs.calls[1:]]))
    found.loop, found.epoch = ratio(loops), ratio(epochs)
    found.verdict = verdict(found.loop, peer.bar)
    return found


def verdict(loop: Ratio, bar: float | None) -> str:
    """Whether the ratio is under its bar: surely so only where its whole interval is."""
    if bar is None:
        return "no bar"
    seen = "met" if loop.value <= bar else "missed"
    if not loop.claimable:
        return f"{seen}, indicative"
    sure = within(loop, bar) != "inconclusive"
    return seen if sure else f"{seen}, but the interval holds the bar"


def markdown(result: Result) -> str:
    """The section of a report."""
    source = "SYNTHETIC data" if result.dataset.synthetic else "Fashion-MNIST"
    claim = (
        f"95 % intervals over {result.sessions} sessions"
        if result.sessions >= MIN_SESSIONS
        else f"indicative only: {result.sessions} of at least {MIN_SESSIONS} sessions"
    )
    lines = [
        "## Beside what people would otherwise use",
        "",
        (
            f"784-256-10 with ReLU, SGD, float32, batch {result.batch_size}, {result.threads} "
            f"threads, {source}. {result.steps} steps a call, {result.rounds} rounds a session, in "
            "alternation between live processes, fresh ones for each session; "
            f"{claim}. Below 1: ours is faster."
        ),
        "",
        (
            "| peer | ours | our loop / its call | bar | | our loop / its epoch "
            "| distance | first call, its (ours) |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    for each in result.rows:
        bar = "" if each.bar is None else f"≤ {each.bar:g}"
        mine = f"{each.against} ({result.facts.get(each.against, {}).get('variant', '–')})"
        if each.loop is None or each.epoch is None:
            lines.append(
                f"| {each.peer} | {mine} | – | {bar} | **{each.verdict}**: {each.reason} | – "
                f"| {'–' if each.distance is None else f'{each.distance:.1e}'} | – |"
            )
            continue
        lines.append(
            f"| {each.peer} | {mine} | {_show(each.loop)} | {bar} | {each.verdict} "
            f"| {_show(each.epoch)} | {each.distance:.1e} "
            f"| {each.first_s:.2f} s ({each.our_first_s:.2f} s) |"
        )
    lines += [
        "",
        (
            "*Our loop*: gathering the rows, which lie in the epoch's order for everybody, putting "
            "them on the device, and steps, of which some are queued before they are waited for. "
            "*Its call*: a whole call of `fit` for one epoch, or of the book's loop, "
            "making batches included. "
            "*Its epoch*: the same without what the call prepares before its first epoch, as in a "
            "`fit` of very many epochs. Keras is given its rows in order, as float32, and "
            "has no progress bar and no metric but the loss. *Distance*: the largest relative "
            f"distance of all its parameters from ours after {result.steps} steps; beyond "
            f"{result.limit:g} a peer is not compared. *First call*: all steps and, where there is "
            "any, compilation, on one shared machine; not in the ratios."
        ),
        "",
        *_chosen(result),
    ]
    return "\n".join(lines) + "\n"


def _show(found: Ratio) -> str:
    interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"{found.value:.3f}{interval}"


def _chosen(result: Result) -> list[str]:
    """Versions of everybody, and what Keras chose by itself."""
    lines = []
    for each in result.rows:
        facts = result.facts.get(each.peer, {})
        versions = [f"{k.removeprefix('version:')} {v}" for k, v in facts.items() if ":" in k]
        chosen = [f"{name} {facts[name]}" for name in CHOSEN if name in facts]
        told = ", ".join(versions) + (f"; by default {', '.join(chosen)}" if chosen else "")
        if facts:
            lines.append(f"- {each.peer}: {told}")
    machine = result.machine
    lines.append(f"- machine: {machine['processor']}, {machine['processors']} processors, shared")
    return lines


def write_json(result: Result, path: Path) -> None:
    """Everything measured, as one JSON document."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0, or 2 for bad input, 130 where interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=MIN_SESSIONS)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=EPOCH_STEPS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="where the JSON file goes")
    parser.add_argument("--data-dir", type=Path, help="the four files of Fashion-MNIST")
    asked = parser.parse_args(words)
    if min(asked.sessions, asked.rounds, asked.steps, asked.threads) < 1:
        parser.error("sessions, rounds, steps and threads start at 1")
    if not asked.out.parent.is_dir():  # before the minutes of measuring, not after
        parser.error(f"--out {asked.out}: there is no such folder")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        with as_interrupt():
            dataset = data.of_workload(WORKLOAD, data_dir=asked.data_dir, warn=say)
            result = measure_peers(
                dataset,
                sessions=asked.sessions,
                rounds=asked.rounds,
                steps=asked.steps,
                threads=asked.threads,
                say=say,
            )
            write_json(result, asked.out)
    except InputError as error:
        say(f"peers: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    print(markdown(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
