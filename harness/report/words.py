"""How figures are written in every report: the same words on a terminal and in Markdown."""

from __future__ import annotations

from harness.plan.profiles import SMALL_SIZES
from harness.record.schema import Number, Record, number
from harness.text import counted, many
from harness.verdict.finding import Finding
from harness.verdict.outcome import UNITS
from harness.verdict.timing import void_part
from harness.verdict.timing_stats import MIN_SESSIONS, claim
from harness.verdict.timings import against_itself, control, versus
from harness.verdict.verdict import Verdict, agreement, left_behind, timing_parts
from harness.workloads.reference.limits import DECIDING, RUNGS

# A mark beside the word: readable without colour.
MARKS = {"agree": "✓", "disagree": "✗", "inconclusive": "?", "not-possible": "–", "failed": "✗"}
COLOURS = {"agree": "green", "disagree": "red", "inconclusive": "yellow", "failed": "red"}
STEP_TIME_HEADER = (
    "step",
    "95 % interval",
    "× floor",
    "its interval",
    "throughput",
    "first step",
    "short batch's",
    "gather",
    "put",
    "epoch",
    "evaluation",
    "loop overhead",
    "peak memory",
    "on the device",
    "cores at work",
    "steadiness",
    "steps",
    "sessions",
)


def figure(value: Number | None) -> str:
    """A distance or limit in two digits."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    digits, e, exponent = f"{value:.2g}".partition("e")
    return f"{digits}e{int(exponent)}" if e else digits


def duration(ns: float | None) -> str:
    """Nanoseconds in the unit that reads best."""
    if ns is None:
        return "–"
    for size, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns:.0f} ns"


def span(low_ns: float, high_ns: float) -> str:
    """Two durations in the unit of the larger one."""
    high, _, unit = duration(high_ns).partition(" ")
    size = high_ns / float(high) if float(high) else 1.0
    return f"{low_ns / size:.3g}–{high} {unit}"


def cell(finding: Finding | None) -> str:
    """One rung of one label: the mark, the value nearest its limit, and that limit."""
    if finding is None:
        return "–"
    mark = MARKS[finding.verdict]
    if void_part(finding.parts) is not None:
        return f"{mark} void"
    if finding.rung == "timing":
        return f"{mark} {finding.value:.2f}×" if isinstance(finding.value, float) else mark
    if finding.expected is not None:
        return f"{mark} as declared"
    if finding.value is None:
        return mark
    if not finding.limit:
        return f"{mark} {figure(finding.value)}"
    sign = "≤" if isinstance(finding.value, float) and finding.value <= finding.limit else ">"
    return f"{mark} {figure(finding.value)}{sign}{figure(finding.limit)}"


def ladder_rows(verdict: Verdict) -> list[list[str]]:
    """The table's rows: label, status, then a cell a rung."""
    return [
        [name, label.status, *(cell(label.findings.get(rung)) for rung in RUNGS)]
        for name, label in verdict.labels.items()
    ]


def time_rows(record: Record, verdict: Verdict) -> list[list[str]]:
    """Step times: a label, whether its numbers agree, then the columns of STEP_TIME_HEADER."""
    rows = []
    full = str(record.plan.workload.batch_size)
    for name, label in verdict.labels.items():
        time = label.step_time
        if time is None:
            continue
        shapes = time.first_steps_ns
        short = next((ns for rows_, ns in shapes.items() if _short(rows_, full)), None)
        rows.append(
            [
                name,
                agreement(label),
                duration(time.median_ns),
                span(*time.ci95_ns) + (" (rounds)" if time.indicative else ""),
                "–" if time.floor_ratio is None else f"{time.floor_ratio:.2f}",
                "–" if time.floor_ci95 is None else "{:.2f}–{:.2f}".format(*time.floor_ci95),
                duration(time.throughput_ns),
                duration(time.first_step_ns),
                duration(short),
                duration(time.gather_median_ns),
                duration(time.put_median_ns),
                duration(time.epoch_ns),
                duration(time.eval_ns),
                "–" if time.loop_overhead is None else f"{time.loop_overhead:.3f}",
                megabytes(label.process.peak_rss_bytes if label.process else None),
                megabytes(label.process.peak_device_bytes if label.process else None),
                "–" if time.cores is None else f"{time.cores:.2f}",
                ", ".join(counted(time.steadiness)),
                str(time.steps),
                str(time.sessions),
            ]
        )
    return rows


def megabytes(size: int | None) -> str:
    """Bytes in MB (10^6)."""
    return "–" if size is None else f"{size / 1e6:.0f} MB"


def _short(rows: str, full: str) -> bool:
    """Whether a batch size is that of a schedule's short batch, not a full or a tiny one."""
    return rows.isdecimal() and rows != full and int(rows) not in SMALL_SIZES


def time_title(record: Record) -> str:
    """What the table of step times is, and what it is not."""
    sessions = record.plan.timing.sessions
    if sessions >= MIN_SESSIONS:
        return f"step time ({sessions} sessions of fresh processes, Student's t over sessions)"
    return f"step time, indicative ({many(sessions, 'session')}: the rounds' spread, no claim)"


def ratio_rows(record: Record, verdict: Verdict) -> list[list[str]]:
    """Steps against the control arm's, and A against A: ratio, interval, claimed or not."""
    arm = control(record)
    ranked = [
        name
        for name, label in verdict.labels.items()
        if label.step_time is not None and agreement(label) == "agree"
    ]
    found = [
        (f"{name} / {arm}", versus(record, name, arm))
        for name in ranked
        if arm in ranked and arm is not None and name != arm
    ]
    found += [(f"{name} / {name}, A/A", r) for name, r in against_itself(record).items()]
    least = record.plan.timing.least
    return [
        [
            what,
            f"{ratio.value:.3f}",
            "–" if ratio.low is None or ratio.high is None else f"{ratio.low:.3f}–{ratio.high:.3f}",
            str(ratio.n),
            "yes" if claim(ratio, least) else "no" if ratio.claimable else "no: too few sessions",
        ]
        for what, ratio in found
        if ratio is not None
    ]


RATIO_HEADER = ("step of", "ratio", "95 % interval", "sessions", "difference claimed")


def part_rows(verdict: Verdict) -> list[list[str]]:
    """The parts of the rung timing: a row a label and part."""
    return [
        [
            name,
            part.name,
            f"{MARKS[part.verdict]} {part.verdict}",
            figure(part.value),
            figure(part.limit),
            part.sentence,
        ]
        for name, label in verdict.labels.items()
        for part in timing_parts(label)
    ]


PART_HEADER = ("label", "part", "verdict", "value", "limit", "")


def equivalence_rows(verdict: Verdict) -> list[list[str]]:
    """The paired tests behind the rung accuracy: a row a label and metric."""
    rows = []
    for name, label in verdict.labels.items():
        for metric, test in label.equivalence.items():
            size, unit = UNITS[metric]

            def scaled(value: float | None, size: int = size) -> str:
                return "–" if value is None else f"{value * size:+.3g}"

            rows.append(
                [
                    name,
                    f"{metric}, {unit}",
                    test.verdict,
                    str(test.n),
                    scaled(test.mean),
                    f"{scaled(test.low)} to {scaled(test.high)}",
                    f"{test.power:.2f}",
                    scaled(test.detectable).lstrip("+"),
                    "–" if test.settles is None else str(test.settles),
                ]
            )
    return rows


EQUIVALENCE_HEADER = (
    "label",
    "metric",
    "verdict",
    "seeds",
    "mean difference",
    "90 % interval",
    "power",
    "detectable",
    "seeds to settle",
)


def churn_rows(verdict: Verdict) -> list[list[str]]:
    """Predictions after training against the reference's: a row a label and seed."""
    return [
        [
            name,
            str(churn.seed),
            f"{churn.differ} of {churn.samples}",
            str(churn.only_here),
            str(churn.only_reference),
            f"{churn.p:.2g}",
        ]
        for name, label in verdict.labels.items()
        for churn in label.churn
    ]


CHURN_HEADER = ("label", "seed", "other class", "right only here", "only there", "McNemar's p")


def repeat_rows(verdict: Verdict) -> list[list[str]]:
    """A against A: a row a process."""
    return [
        [
            name,
            repeat.dtype,
            str(repeat.steps),
            "the same, bit for bit"
            if repeat.identical
            else "NOT deterministic, "
            + (
                "in the last update"
                if repeat.first_step is None
                else f"from step {repeat.first_step}"
            ),
            figure(number(max(map(_size, repeat.distances.values()), default=0.0))),
        ]
        for name, label in verdict.labels.items()
        for repeat in label.repeats
    ]


REPEAT_HEADER = ("label", "dtype", "steps", "trained twice", "largest distance")


def envelope_rows(record: Record) -> list[list[str]]:
    """The furthest replica after each number of steps, and each label's distance there."""
    places = sorted({(replica.after, replica.regime) for replica in record.envelope})
    rows = []
    for after, regime in places:
        replicas = [r for r in record.envelope if (r.after, r.regime) == (after, regime)]
        furthest = max((r.distance for r in replicas), key=_size)
        labels = [
            f"{name} {figure(m.distance)}"
            for name, results in record.results.items()
            for m in results.measurements
            if m.rung == "trajectory" and m.case == f"{regime}, after {after} steps"
        ]
        rows.append([regime, str(after), str(len(replicas)), figure(furthest), ", ".join(labels)])
    return rows


ENVELOPE_HEADER = ("regime", "steps", "replicas", "the furthest", "distance of each label")


def _size(value: Number) -> float:
    return abs(float(value)) if isinstance(value, float) else float("inf")


def training_rows(record: Record) -> list[list[str]]:
    """Free trainings: label, dtype, seed, last epoch's mean loss, last test accuracy."""
    rows = []
    for name, results in record.results.items():
        for training in results.training:
            loss = training.epoch_losses[-1] if training.epoch_losses else "–"
            right = training.test_accuracy[-1] if training.test_accuracy else "–"
            rows.append(
                [
                    name,
                    training.dtype,
                    str(training.seed),
                    str(len(training.losses)),
                    f"{loss:.6f}" if isinstance(loss, float) else loss,
                    f"{right:.2%}" if isinstance(right, float) else right,
                ]
            )
    return rows


TRAINING_HEADER = ("label", "dtype", "seed", "steps", "last epoch's loss", "test accuracy")


def headline(record: Record) -> str:
    """What was run, in a line."""
    data = record.dataset
    told = "no data set" if data is None else f"{data.name}, {data.train} + {data.test} images"
    return (
        f"{record.plan.workload.name} · profile {record.plan.profile} · {told} · run {record.run}"
    )


def warnings(record: Record) -> list[str]:
    """What must be said loudly above everything else."""
    found = []
    if record.dataset is not None and record.dataset.synthetic:
        found.append("SYNTHETIC DATA: this run did not use Fashion-MNIST; accuracies mean little.")
    planted = [f"{name}: {p}" for name, label in record.plan.labels.items() if (p := label.plant)]
    if planted:
        found.append(f"FAULT PLANTED on purpose: {', '.join(planted)}.")
    for name in record.plan.labels:
        left = counted([each.command for _, each in left_behind(record, name)])
        if left:
            found.append(f"LEFT BEHIND by {name}, ended by the harness: {', '.join(left)}.")
    if record.ended != "finished":
        found.append(f"NOT FINISHED: {record.ended}.")
    return found


def screening(record: Record) -> str:
    """How many samples screening replaced."""
    forced = [case for case in record.cases if case.step is not None]
    samples, replaced = sum(c.rows for c in forced), sum(c.replaced for c in forced)
    made, most = len(record.cases) - len(forced), max((c.replaced for c in forced), default=0)
    return (
        f"{len(forced)} teacher-forced batches: {replaced} of {samples} samples replaced by "
        f"screening (at most {most} in one); {made} made batches"
    )


def explanations(verdict: Verdict) -> list[str]:
    """A sentence for every rung that does not agree, and every label that failed or is skipped."""
    lines = []
    for name, label in verdict.labels.items():
        if label.reason:
            lines.append(f"{name} {label.status}: {label.reason}")
        for finding in label.findings.values():
            if finding.rung in DECIDING and finding.verdict in ("inconclusive", "not-possible"):
                lines.append(
                    f"{MARKS[finding.verdict]} {name}, {finding.rung}: {finding.sentence}."
                )
            if finding.verdict == "disagree":
                told = f" Limit because: {finding.first.why}." if finding.first else ""
                hint = f" Hint: {finding.hint}." if finding.hint else ""
                known = f" As declared: {finding.expected}." if finding.expected else ""
                lines.append(f"{MARKS['disagree']} {finding.sentence}.{told}{hint}{known}")
    return lines
