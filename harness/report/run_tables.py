"""The tables of a run, each a section: from its record and verdict, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from harness.measure.outcome import accuracy_metric
from harness.plan.profiles import SMALL_SIZES
from harness.record.facts import versions
from harness.record.schema import Number, Process, Record, Training, number
from harness.report.sections import Columns, Section, Value, by_columns
from harness.report.words import (
    MARKS,
    decimals,
    duration,
    in_nats,
    megabytes,
    span,
    times_floor,
)
from harness.text import counted, many, short, signed
from harness.verdict.outcome import unit_of
from harness.verdict.timing_stats import MIN_SESSIONS, Ratio, claim
from harness.verdict.timings import StepTime, against_itself, busy_load, control, versus
from harness.verdict.verdict import LabelVerdict, Verdict, agreement, processes_of, timing_parts
from harness.workloads.reference.limits import LIMITS


@dataclass(frozen=True)
class Run:
    """What a report is made of.

    folder: where the record lies, for kept tensors and links (relative: the page belongs there);
    with_links: False for a page that goes elsewhere. with_images: False leaves out the pixels of
    the test set, which may not be the reader's to publish.
    """

    record: Record
    verdict: Verdict
    folder: Path = Path()
    with_images: bool = True
    with_links: bool = True


class Timed(NamedTuple):
    """A label that was timed; `short_ns`: its first step of a schedule's short batch.

    `busy`: the machine's load, where others computed too.
    """

    name: str
    numbers: str
    time: StepTime
    process: Process
    short_ns: int | None
    busy: float | None


STEP_TIMES: Columns[Timed] = {
    "label": lambda of: of.name,
    "numbers": lambda of: of.numbers,
    "step": lambda of: (
        duration(of.time.median_ns)
        + ("" if of.busy is None else f", machine was busy (load {of.busy:.0f})")
    ),
    "95 % interval": lambda of: span(*of.time.ci95_ns) + " (rounds)" * of.time.indicative,
    "× floor": lambda of: times_floor(of.time.floor_ratio),
    "its interval": lambda of: "–".join(map(decimals, of.time.floor_ci95 or [])) or "–",
    "throughput": lambda of: duration(of.time.throughput_ns),
    "first step": lambda of: duration(of.time.first_step_ns),
    "short batch's": lambda of: duration(of.short_ns),
    "gather": lambda of: duration(of.time.gather_median_ns),
    "put": lambda of: duration(of.time.put_median_ns),
    "epoch": lambda of: duration(of.time.epoch_ns),
    "evaluation": lambda of: duration(of.time.eval_ns),
    "loop overhead": lambda of: decimals(of.time.loop_overhead, 3),
    "peak memory": lambda of: megabytes(of.process.peak_rss_bytes),
    "on the device": lambda of: megabytes(of.process.peak_device_bytes),
    "cores at work": lambda of: decimals(of.time.cores),
    "steadiness": lambda of: ", ".join(counted(of.time.steadiness)),
    "steps": lambda of: of.time.steps,
    "sessions": lambda of: of.time.sessions,
}


def times(run: Run, columns: Columns[Timed] = STEP_TIMES) -> Section:
    """Step times, whether a label's numbers agree beside them; what the table is and is not."""
    timed = []
    for name, label in run.verdict.labels.items():
        time, process = label.step_time, label.process
        if time is not None and process is not None:
            sizes = time.first_steps_ns.items()
            short = next((ns for rows, ns in sizes if _is_short(rows, run.record)), None)
            busy = busy_load(run.record, run.record.results[name])
            timed.append(Timed(name, agreement(label), time, process, short, busy))
    sessions = run.record.plan.timing.sessions
    what = f" ({sessions} sessions of fresh processes, Student's t over sessions)"
    if sessions < MIN_SESSIONS:
        what = f", indicative ({many(sessions, 'session')}: the rounds' spread, no claim)"
    return Section(f"Step time{what}", [*columns], by_columns(columns, timed), across=True)


def _is_short(rows: str, record: Record) -> bool:
    """Whether a batch size is that of a schedule's short batch, not a full or a tiny one."""
    full = record.plan.workload.batch_size
    return rows.isdecimal() and rows != str(full) and int(rows) not in SMALL_SIZES


def compared(run: Run) -> list[tuple[str, str, Ratio]]:
    """Steps of each label that may be ranked over the control arm's; of A against A over ""."""
    labels, base = run.verdict.labels, control(run.record)
    ranked = [
        name
        for name, label in labels.items()
        if label.step_time is not None and agreement(label) == "agree"
    ]
    others = [name for name in ranked if name != base] if base in ranked else []
    pairs = [(name, base, versus(run.record, name, base)) for name in others if base]
    pairs += [(name, "", of) for name, of in against_itself(run.record).items()]
    return [(name, other, of) for name, other, of in pairs if of is not None]


def is_claimed(run: Run, name: str, other: str, of: Ratio) -> tuple[bool, str]:
    """Whether a label differs from another; why not, where there is more to say than "no".

    Of a label whose timing is not settled nothing is claimed, but over "": A against A.
    """
    if not of.claimable:
        return False, "too few sessions"
    timing = run.verdict.labels[name].findings.get("timing")
    if other and timing is not None and timing.verdict == "inconclusive":
        return False, "timing inconclusive"
    return claim(of, run.record.plan.timing.least), ""


def ratios(run: Run) -> Section:
    """Steps against the control arm's, and A against A: ratio, interval, claimed or not."""
    rows: list[list[Value]] = []
    for name, other, of in compared(run):
        ends = [f"{end:.3f}" for end in (of.low, of.high) if end is not None]
        claimed, why = is_claimed(run, name, other, of)
        word = "yes" if claimed else f"no: {why}" if why else "no"
        what = f"{name} / {other or f'{name}, A/A'}"
        rows.append([what, f"{of.value:.3f}", "–".join(ends) or "–", of.n, word])
    return Section(
        "Steps against the control arm's",
        ("step of", "ratio", "95 % interval", "sessions", "difference claimed"),
        rows,
        about="ratios formed within a round; A/A: a label against its own second process",
    )


def _asked(run: Run, only: str | None) -> Iterator[tuple[str, LabelVerdict]]:
    return ((name, of) for name, of in run.verdict.labels.items() if only in (None, name))


def parts(run: Run, only: str | None = None) -> Section:
    """The parts of the rung timing, of all labels or one."""
    return Section(
        f"The parts of the rung timing{f' of {only}' if only else ''}",
        ("label", "part", "verdict", "value", "limit", "what it says"),
        [
            [name, of.name, f"{MARKS[of.verdict]} {of.verdict}", of.value, of.limit, of.sentence]
            for name, label in _asked(run, only)
            for of in timing_parts(label)
        ],
        about="ratios; see the sentence of each",
    )


def equivalence(run: Run, only: str | None = None) -> Section:
    """The paired tests behind the rung accuracy, of all labels or one."""
    rows: list[list[Value]] = []
    for name, label in _asked(run, only):
        for metric, of in label.equivalence.items():
            size, unit = unit_of(metric, run.record.plan.workload)
            mean, low, high, detectable = (
                "–" if value is None else signed(value * size)
                for value in (of.mean, of.low, of.high, of.detectable)
            )
            found = [of.verdict, of.n, mean, f"{low} to {high}", decimals(of.power)]
            what = f"{metric}, {unit}" if unit else metric
            rows.append([name, what, *found, detectable.lstrip("+"), of.settles])
    return Section(
        f"Equivalence over seeds{f' of {only}' if only else ''}",
        ("label", "metric", "verdict", "seeds", "mean difference", "90 % interval", "power",
         "detectable", "seeds to settle"),
        rows,
        about="paired with the reference's own trainings",
    )  # fmt: skip


def churn(run: Run) -> Section:
    """Predictions after training against the reference's: a row a label and seed."""
    return Section(
        "Predictions after training against the reference's",
        ("label", "seed", "other class", "right only here", "only there", "McNemar's p"),
        [
            [name, of.seed, f"{of.differ} of {of.samples}", of.only_here, of.only_reference,
             short(of.p)]
            for name, label in run.verdict.labels.items()
            for of in label.churn
        ],
        about="test images",
    )  # fmt: skip


def repeats(run: Run) -> Section:
    """A against A: a row a process."""
    rows: list[list[Value]] = []
    for name, label in run.verdict.labels.items():
        for of in label.repeats:
            since = "in the last update" if of.first_step is None else f"from step {of.first_step}"
            same = "the same, bit for bit" if of.identical else f"NOT deterministic, {since}"
            largest = number(max(map(_size, of.distances.values()), default=0.0))
            rows.append([name, of.dtype, of.steps, same, largest])
    header = ("label", "dtype", "steps", "trained twice", "largest distance")
    about = "each process trained twice from the same numbers"
    return Section("A against A", header, rows, about)


def envelope(run: Run) -> Section:
    """The furthest replica after each number of steps, and each label's distance there."""
    replicas: dict[tuple[int, str], list[Number]] = {}
    for of in run.record.envelope:
        replicas.setdefault((of.after, of.regime), []).append(of.distance)
    rows: list[list[Value]] = []
    for (after, regime), distances in sorted(replicas.items()):
        labels = [
            f"{name} {short(m.distance)}"
            for name, results in run.record.results.items()
            for m in results.measurements
            if m.rung == "trajectory" and m.case == f"{regime}, after {after} steps"
        ]
        furthest = max(distances, key=_size)
        rows.append([regime, after, len(distances), furthest, ", ".join(labels)])
    return Section(
        "Envelope of float32 replicas",
        ("regime", "steps", "replicas", "the furthest", "distance of each label"),
        rows,
        about="distance from the float64 reference after free-running steps (relative)",
    )


def _size(value: Number) -> float:
    return abs(float(value)) if isinstance(value, float) else float("inf")


def training(run: Run) -> Section:
    """Free trainings: a row a label, dtype and seed, what was counted in any of them a column."""
    workload = run.record.plan.workload
    every = [(name, of) for name, results in run.record.results.items() for of in results.training]
    counted_last: dict[str, Callable[[Training], Value]] = {
        "test loss": lambda of: _loss(of.test_loss),
        accuracy_metric(workload) or "test accuracy": lambda of: _share(of.test_accuracy),
        "validation accuracy": lambda of: _share(of.validation_accuracy),
        "early stop": _early_stop,
        "training accuracy": lambda of: _share(of.training_accuracy),
    }
    there = {what: told for what, told in counted_last.items() if any(told(of) for _, of in every)}
    rows: list[list[Value]] = [
        [name, of.dtype, of.seed, len(of.losses), _loss(of.epoch_losses),
         *(told(of) for told in there.values())]
        for name, of in every
    ]  # fmt: skip
    about = f"mean loss of the last epoch{in_nats(workload)}"
    if "early stop" in there:
        about += "; an early stop takes the first epoch with the best validation accuracy"
    parts = [
        f"{name}, seed {of.seed}: cut off, and gone on with, after step "
        f"{' and '.join(map(str, of.went_on))}: no epoch is timed"
        for name, of in every
        if of.went_on
    ]
    header = ("label", "dtype", "seed", "steps", "last epoch's loss", *there)
    return Section("Free training", header, rows, about=about, lines=parts)


def _loss(values: list[Number]) -> str | None:
    """The last of them; one below 0.001 in two digits."""
    last = values[-1] if values else None
    if not isinstance(last, float):
        return last
    return short(last) if 0 < last < 1e-3 else f"{last:.6f}"


def _share(values: list[Number]) -> str | None:
    last = values[-1] if values else None
    return f"{last:.2%}" if isinstance(last, float) else last


def _early_stop(of: Training) -> str | None:
    """The first epoch with the best validation accuracy; epochs count from 1."""
    known = [value for value in of.validation_accuracy if isinstance(value, float)]
    if not known:
        return None
    best = of.validation_accuracy.index(max(known))
    return f"epoch {best + 1} of {len(of.validation_accuracy)}: {max(known):.2%}"


def values(run: Run) -> Section:
    """Every rung of every label with the measurement nearest its limit."""
    rows: list[list[Value]] = []
    for name, label in run.verdict.labels.items():
        for rung, of in label.findings.items():
            where = [getattr(of.evidence, field, None) for field in ("where", "dtype", "tensor")]
            rows.append([name, rung, of.verdict, of.value, of.limit, *where, of.measured])
    header = ("label", "rung", "verdict", "value", "limit", "batch", "dtype", "tensor", "measured")
    return Section("Value against limit", header, rows)


def limits(run: Run) -> Section:
    """The rows that may hold in this run; a float64 process is always strict."""
    precisions = {"strict", *(label.precision for label in run.record.plan.labels.values())}
    return Section(
        "Where the limits come from",
        ("rung", "dtype", "precision", "batch", "limit", "reason", "seen in correct code"),
        [
            [of.rung, of.dtype, of.precision, of.case, short(of.value), of.reason, of.seen]
            for of in LIMITS
            if any(fnmatchcase(precision, of.precision) for precision in precisions)
        ],
        note="Of the precisions of this run; the first row that fits is the limit.",
    )


def starts(run: Run) -> Section:
    """Import, build, first step and memory of every process."""
    rows: list[list[Value]] = []
    for name, label in run.verdict.labels.items():
        again = run.record.again[name].processes if name in run.record.again else []
        compiling = label.step_time.compile_ns if label.step_time is not None else None
        for of in processes_of(run.record, name):
            session = f"{of.session}{', again' * any(of is other for other in again)}"
            first = ", ".join(f"{n} rows {duration(ns)}" for n, ns in of.first_step_ns.items())
            once = map(duration, (of.import_ns, of.build_ns))
            compiled = duration(compiling if of is label.process else None)
            peaks = map(megabytes, (of.peak_rss_bytes, of.peak_device_bytes))
            rows.append([name, of.dtype, session, of.status, *once, first or "–", compiled, *peaks])
    return Section(
        "Start-up, compiling and memory of every process",
        ("label", "dtype", "session", "status", "import", "build", "first step of a batch of",
         "of that, compiling", "peak memory", "on the device"),
        rows,
    )  # fmt: skip


def configurations(run: Run) -> Section:
    """What each label is."""
    labels = run.verdict.labels
    return Section(
        "What each label is",
        ("label", "backend", "variant", "device", "dtype", "precision", "status", "reason"),
        [
            [name, of.backend, of.variant, of.device, of.dtype, of.precision, labels[name].status,
             labels[name].reason]
            for name, of in run.record.plan.labels.items()
        ],
    )  # fmt: skip


def environment(run: Run) -> Section:
    """What the workers said of themselves: a row a fact, a column a label; "differs" in words."""
    labels = [name for name in run.record.plan.labels if name in run.record.results]
    processes = [processes_of(run.record, name) for name in labels]
    rows = []
    for key in dict.fromkeys(key for each in processes for of in each for key in of.facts):
        texts = [_fact(key, each) for each in processes]
        known = [text for text in texts if text != "–"]
        mark = "≠ differs" if len({*known}) > 1 else "same" if len(known) > 1 else "only there"
        rows.append([key, mark, *texts])
    header = ("what", "between labels", *labels)
    return Section("What the workers said of themselves", header, rows, figures=False)


def _fact(key: str, processes: Iterable[Process]) -> str:
    """A label's value; where its processes differ, each value with the dtypes that have it."""
    dtypes: dict[str, dict[str, None]] = {}
    for process in processes:
        if key in process.facts:
            dtypes.setdefault(process.facts[key], {})[process.dtype] = None
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return "; ".join(f"{value} ({', '.join(which)})" for value, which in dtypes.items()) or "–"


def versions_of(verdict: Verdict) -> str:
    """Every label's framework and its version, in a line."""
    known: dict[str, str] = {}
    for label in verdict.labels.values():
        known |= versions(label.process.facts) if label.process is not None else {}
    return ", ".join(f"{name} {version}" for name, version in sorted(known.items()))
