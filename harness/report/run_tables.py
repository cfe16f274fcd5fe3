"""The tables of a run, each a section: from its record and verdict, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from harness.plan.profiles import SMALL_SIZES
from harness.record.facts import versions
from harness.record.schema import Number, Process, Record, number
from harness.report.sections import Columns, Section, by_columns
from harness.report.words import MARKS, duration, figure, megabytes, span
from harness.text import counted, many
from harness.verdict.outcome import UNITS
from harness.verdict.timing_stats import MIN_SESSIONS, claim
from harness.verdict.timings import StepTime, against_itself, control, versus
from harness.verdict.verdict import LabelVerdict, Verdict, agreement, processes_of, timing_parts
from harness.workloads.reference.limits import LIMITS


class Timed(NamedTuple):
    """A label that was timed; `short_ns`: its first step of a schedule's short batch."""

    name: str
    label: LabelVerdict
    time: StepTime
    process: Process
    short_ns: int | None


STEP_TIMES: Columns[Timed] = {
    "label": lambda of: of.name,
    "numbers": lambda of: agreement(of.label),
    "step": lambda of: duration(of.time.median_ns),
    "95 % interval": lambda of: (
        span(*of.time.ci95_ns) + (" (rounds)" if of.time.indicative else "")
    ),
    "× floor": lambda of: _digits(of.time.floor_ratio),
    "its interval": lambda of: "–".join(f"{end:.2f}" for end in of.time.floor_ci95 or []) or "–",
    "throughput": lambda of: duration(of.time.throughput_ns),
    "first step": lambda of: duration(of.time.first_step_ns),
    "short batch's": lambda of: duration(of.short_ns),
    "gather": lambda of: duration(of.time.gather_median_ns),
    "put": lambda of: duration(of.time.put_median_ns),
    "epoch": lambda of: duration(of.time.epoch_ns),
    "evaluation": lambda of: duration(of.time.eval_ns),
    "loop overhead": lambda of: _digits(of.time.loop_overhead, 3),
    "peak memory": lambda of: megabytes(of.process.peak_rss_bytes),
    "on the device": lambda of: megabytes(of.process.peak_device_bytes),
    "cores at work": lambda of: _digits(of.time.cores),
    "steadiness": lambda of: ", ".join(counted(of.time.steadiness)),
    "steps": lambda of: str(of.time.steps),
    "sessions": lambda of: str(of.time.sessions),
}


def _digits(value: float | None, places: int = 2) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def times(record: Record, verdict: Verdict, columns: Columns[Timed] = STEP_TIMES) -> Section:
    """Step times, whether a label's numbers agree beside them; what the table is and is not."""
    full = str(record.plan.workload.batch_size)
    timed = [
        Timed(name, label, time, process, next((ns for n, ns in sizes if _is_short(n, full)), None))
        for name, label in verdict.labels.items()
        if (time := label.step_time) is not None and (process := label.process) is not None
        for sizes in [time.first_steps_ns.items()]
    ]
    sessions = record.plan.timing.sessions
    title = f"Step time ({sessions} sessions of fresh processes, Student's t over sessions)"
    if sessions < MIN_SESSIONS:
        rest = f"{many(sessions, 'session')}: the rounds' spread, no claim"
        title = f"Step time, indicative ({rest})"
    return Section(title, header=[*columns], rows=by_columns(columns, timed), across=True)


def _is_short(rows: str, full: str) -> bool:
    """Whether a batch size is that of a schedule's short batch, not a full or a tiny one."""
    return rows.isdecimal() and rows != full and int(rows) not in SMALL_SIZES


def ratios(record: Record, verdict: Verdict) -> Section:
    """Steps against the control arm's, and A against A: ratio, interval, claimed or not."""
    base = control(record)
    ranked = [
        name
        for name, label in verdict.labels.items()
        if label.step_time is not None and agreement(label) == "agree"
    ]
    pairs = [
        (f"{name} / {base}", versus(record, name, base))
        for name in ranked
        if base in ranked and base is not None and name != base
    ]
    pairs += [(f"{name} / {name}, A/A", r) for name, r in against_itself(record).items()]
    least = record.plan.timing.least
    return Section(
        "Steps against the control arm's",
        about="ratios formed within a round; A/A: a label against its own second process",
        header=("step of", "ratio", "95 % interval", "sessions", "difference claimed"),
        rows=[
            [
                what,
                f"{r.value:.3f}",
                "–" if r.low is None or r.high is None else f"{r.low:.3f}–{r.high:.3f}",
                str(r.n),
                "yes" if claim(r, least) else "no" if r.claimable else "no: too few sessions",
            ]
            for what, r in pairs
            if r is not None
        ],
    )


def _of(verdict: Verdict, only: str | None) -> list[tuple[str, LabelVerdict]]:
    return [(name, of) for name, of in verdict.labels.items() if only in (None, name)]


def parts(verdict: Verdict, only: str | None = None) -> Section:
    """The parts of the rung timing, of all labels or one."""
    return Section(
        f"The parts of the rung timing{f' of {only}' if only else ''}",
        about="ratios; see the sentence of each",
        header=("label", "part", "verdict", "value", "limit", "what it says"),
        rows=[
            [
                name,
                part.name,
                f"{MARKS[part.verdict]} {part.verdict}",
                figure(part.value),
                figure(part.limit),
                part.sentence,
            ]
            for name, label in _of(verdict, only)
            for part in timing_parts(label)
        ],
    )


def equivalence(verdict: Verdict, only: str | None = None) -> Section:
    """The paired tests behind the rung accuracy, of all labels or one."""
    rows = []
    for name, label in _of(verdict, only):
        for metric, test in label.equivalence.items():
            size, unit = UNITS[metric]
            mean, low, high, detectable = (
                "–" if value is None else f"{value * size:+.3g}"
                for value in (test.mean, test.low, test.high, test.detectable)
            )
            row = [name, f"{metric}, {unit}", test.verdict, str(test.n), mean, f"{low} to {high}"]
            settles = "–" if test.settles is None else str(test.settles)
            rows.append([*row, f"{test.power:.2f}", detectable.lstrip("+"), settles])
    return Section(
        f"Equivalence over seeds{f' of {only}' if only else ''}",
        about="paired with the reference's own trainings",
        header=("label", "metric", "verdict", "seeds", "mean difference", "90 % interval", "power",
                "detectable", "seeds to settle"),
        rows=rows,
    )  # fmt: skip


def churn(verdict: Verdict) -> Section:
    """Predictions after training against the reference's: a row a label and seed."""
    return Section(
        "Predictions after training against the reference's",
        about="test images",
        header=("label", "seed", "other class", "right only here", "only there", "McNemar's p"),
        rows=[
            [
                name,
                str(of.seed),
                f"{of.differ} of {of.samples}",
                str(of.only_here),
                str(of.only_reference),
                f"{of.p:.2g}",
            ]
            for name, label in verdict.labels.items()
            for of in label.churn
        ],
    )


def repeats(verdict: Verdict) -> Section:
    """A against A: a row a process."""
    rows = []
    for name, label in verdict.labels.items():
        for of in label.repeats:
            since = "in the last update" if of.first_step is None else f"from step {of.first_step}"
            same = "the same, bit for bit" if of.identical else f"NOT deterministic, {since}"
            largest = number(max(map(_size, of.distances.values()), default=0.0))
            rows.append([name, of.dtype, str(of.steps), same, figure(largest)])
    return Section(
        "A against A",
        about="each process trained twice from the same numbers",
        header=("label", "dtype", "steps", "trained twice", "largest distance"),
        rows=rows,
    )


def envelope(record: Record) -> Section:
    """The furthest replica after each number of steps, and each label's distance there."""
    rows = []
    for after, regime in sorted({(of.after, of.regime) for of in record.envelope}):
        replicas = [of for of in record.envelope if (of.after, of.regime) == (after, regime)]
        furthest = max((of.distance for of in replicas), key=_size)
        labels = [
            f"{name} {figure(m.distance)}"
            for name, results in record.results.items()
            for m in results.measurements
            if m.rung == "trajectory" and m.case == f"{regime}, after {after} steps"
        ]
        rows.append([regime, str(after), str(len(replicas)), figure(furthest), ", ".join(labels)])
    return Section(
        "Envelope of float32 replicas",
        about="distance from the float64 reference after free-running steps (relative)",
        header=("regime", "steps", "replicas", "the furthest", "distance of each label"),
        rows=rows,
    )


def _size(value: Number) -> float:
    return abs(float(value)) if isinstance(value, float) else float("inf")


def training(record: Record) -> Section:
    """Free trainings: label, dtype, seed, last epoch's mean loss, last test accuracy."""
    rows = []
    for name, results in record.results.items():
        for of in results.training:
            loss = of.epoch_losses[-1] if of.epoch_losses else "–"
            right = of.test_accuracy[-1] if of.test_accuracy else "–"
            shown = f"{loss:.6f}" if isinstance(loss, float) else loss
            correct = f"{right:.2%}" if isinstance(right, float) else right
            rows.append([name, of.dtype, str(of.seed), str(len(of.losses)), shown, correct])
    return Section(
        "Free training",
        about="mean loss of the last epoch in nats, accuracy on the test set",
        header=("label", "dtype", "seed", "steps", "last epoch's loss", "test accuracy"),
        rows=rows,
    )


def values(verdict: Verdict) -> Section:
    """Every rung of every label with the measurement nearest its limit."""
    rows = []
    for name, label in verdict.labels.items():
        for rung, of in label.findings.items():
            at = of.evidence
            where = [at.where, at.dtype, at.tensor] if at is not None else ["–"] * 3
            nearest = [of.verdict, figure(of.value), figure(of.limit), *where]
            rows.append([name, rung, *nearest, str(of.measured)])
    header = ("label", "rung", "verdict", "value", "limit", "batch", "dtype", "tensor", "measured")
    return Section("Value against limit", header=header, rows=rows)


def limits(record: Record) -> Section:
    """The rows that may hold in this run; a float64 process is always strict."""
    precisions = {"strict", *(label.precision for label in record.plan.labels.values())}
    return Section(
        "Where the limits come from",
        note="Of the precisions of this run; the first row that fits is the limit.",
        header=("rung", "dtype", "precision", "batch", "limit", "reason", "seen in correct code"),
        rows=[
            [row.rung, row.dtype, row.precision, row.case, f"{row.value:g}", row.reason, row.seen]
            for row in LIMITS
            if any(fnmatchcase(precision, row.precision) for precision in precisions)
        ],
    )


def starts(record: Record, verdict: Verdict) -> Section:
    """Import, build, first step and memory of every process."""
    rows = []
    for name, label in verdict.labels.items():
        time = label.step_time
        again = record.again[name].processes if name in record.again else []
        for of in processes_of(record, name):
            main = of is label.process and time is not None
            second = any(of is other for other in again)
            first = (f"{n} rows {duration(ns)}" for n, ns in of.first_step_ns.items())
            row = [name, of.dtype, f"{of.session}{', again' if second else ''}", of.status]
            row += [duration(of.import_ns), duration(of.build_ns), ", ".join(first) or "–"]
            row += [duration(time.compile_ns if main and time is not None else None)]
            rows.append([*row, megabytes(of.peak_rss_bytes), megabytes(of.peak_device_bytes)])
    return Section(
        "Start-up, compiling and memory of every process",
        header=("label", "dtype", "session", "status", "import", "build",
                "first step of a batch of", "of that, compiling", "peak memory", "on the device"),
        rows=rows,
    )  # fmt: skip


def configurations(record: Record, verdict: Verdict) -> Section:
    """What each label is."""
    rows = []
    for name, of in record.plan.labels.items():
        label = verdict.labels[name]
        row = [name, of.backend, of.variant, of.device, of.dtype, of.precision]
        rows.append([*row, label.status, label.reason or "–"])
    header = ("label", "backend", "variant", "device", "dtype", "precision", "status", "reason")
    return Section("What each label is", header=header, rows=rows)


def environment(record: Record) -> Section:
    """What the workers said of themselves: a row a fact, a column a label; "differs" in words."""
    processes = {
        name: processes_of(record, name) for name in record.plan.labels if name in record.results
    }
    keys = dict.fromkeys(key for each in processes.values() for of in each for key in of.facts)
    rows = []
    for key in keys:
        texts = [_fact(key, each) for each in processes.values()]
        known = [text for text in texts if text != "–"]
        mark = "≠ differs" if len({*known}) > 1 else "same" if len(known) > 1 else "only there"
        rows.append([key, mark, *texts])
    return Section(
        "What the workers said of themselves",
        header=("what", "between labels", *processes),
        rows=rows,
        figures=False,
    )


def _fact(key: str, processes: Iterable[Process]) -> str:
    """A label's value; where its processes differ, each value with the dtypes that have it."""
    dtypes: dict[str, dict[str, None]] = {}
    for process in processes:
        if key in process.facts:
            dtypes.setdefault(process.facts[key], {})[process.dtype] = None
    if len(dtypes) == 1:
        return next(iter(dtypes))
    return "; ".join(f"{value} ({', '.join(which)})" for value, which in dtypes.items()) or "–"


def machine(record: Record) -> Section:
    """What is known of the machine."""
    rows = [[name, value] for name, value in record.machine.items()]
    return Section("The machine", header=("what", "value"), rows=rows, figures=False)


def versions_of(verdict: Verdict) -> str:
    """Every label's framework and its version, in a line."""
    known: dict[str, str] = {}
    for label in verdict.labels.values():
        known |= versions(label.process.facts) if label.process is not None else {}
    return ", ".join(f"{name} {version}" for name, version in sorted(known.items()))
