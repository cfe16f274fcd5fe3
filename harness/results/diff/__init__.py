"""What moved from one stored run to another, or between labels of one: numbers, speed, environment.

Both sides are judged by today's limits. Whether a result is the same is asked bit for bit, of
results that were given the same parameters and batch (their digests say so). Times of two runs are
compared as `harness/results/baseline.py` does, and only where machine, threads and configuration
are the same; those of two labels of one run by ratios formed within its rounds. Pure: takes stored
records, starts nothing; imports no framework.

A file a question: `numbers`, `speed`, `environment`; `moves` puts what moved into sentences;
`document` is what is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from harness.errors import InputError
from harness.record.facts import machine_key, machine_name
from harness.record.schema import FINISHED, Record
from harness.results.diff.document import (
    Diff,
    Judged,
    LabelDiff,
    Move,
    RungDiff,
    Side,
    SpeedDiff,
    TrainingDiff,
    Word,
)
from harness.results.diff.environment import around, changes
from harness.results.diff.labels import Of, answers, one_run, other_machine, same_data, trouble
from harness.results.diff.moves import move, moves_of, of_runs, order, ratio, told_of, told_of_pair
from harness.results.diff.numbers import WOBBLE, churn_of, rungs_of, trainings_of
from harness.results.diff.speed import speed_of
from harness.verdict.verdict import Verdict, judge

__all__ = [
    "Diff",
    "Judged",
    "LabelDiff",
    "RungDiff",
    "TrainingDiff",
    "compare",
    "encode",
    "exit_status",
    "ratio",
]


def compare(
    then: Record,
    now: Record,
    names: dict[str, str] | None = None,
    folders: tuple[str, str] = ("", ""),
    only: dict[str, str] | None = None,
) -> Diff:
    """What moved from one run to the other, or between labels of the same run.

    names: labels of the first run that have another name in the second; others are matched by name.
    only: labels of the first run, each with that of the second which it is compared with; no other
    is compared, and both runs may be the same. `folders`: where the two lie, to be told.
    InputError for a name that a run does not have.
    """
    verdicts = judge(then), judge(now)
    within = only is not None and one_run(then, now)
    if only is not None:
        _check_names(then, now, only, "--pair")
        pairs, only_then, only_now = [*only.items()], list[str](), list[str]()
        if within and (same := next((a for a, b in pairs if a == b), None)):
            raise InputError(f"--pair {same}={same}: a label of one run is the same as itself")
    else:
        pairs, only_then, only_now = _match(then, now, names or {})
    environment = changes(then, now, pairs)
    same_work = then.plan.workload == now.plan.workload
    labels, moves = [], of_runs(then, now)
    for name, other in pairs if same_work else []:
        before, after = Of(then, verdicts[0], name), Of(now, verdicts[1], other)
        labels.append(label := _label(before, after, within=within))
        moves += moves_of(label, after)
        if only is not None:
            label.told = told_of_pair(label, environment)
    reference = [] if within else _of_references(then, now)  # one run has one
    for training in reference:
        if isinstance(training.furthest, str) or training.furthest > WOBBLE:
            moves.append(move("moved", "training", told_of(then.plan.reference, training)))
    moves += [move("moved", "label", f"{n}: in the first run only", n) for n in only_then]
    moves += [move("moved", "label", f"{n}: in the second run only", n) for n in only_now]
    moves.sort(key=order)
    word, sentence = _word(labels, moves, same_work=same_work)
    sides = "labels" if within else "runs"
    if word != "not comparable" and only is not None and len(labels) == 1:
        summary = f"{labels[0].told}; {around(environment, sides, labels[0].name)}"
    else:
        summary = f"{sentence}; {around(environment, sides)}"
    return Diff(
        verdict=word,
        summary=summary,
        then=_side(then, verdicts[0], folders[0]),
        now=_side(now, verdicts[1], folders[1]),
        cautions=_cautions(then, now, verdicts, labels, within=within),
        moves=moves,
        labels=labels,
        only_then=only_then,
        only_now=only_now,
        reference=reference,
        environment=environment,
        one_run=within,
    )


def _of_references(then: Record, now: Record) -> list[TrainingDiff]:
    """What moved in the judges' own trainings; nothing where they trained something else."""
    same_judge = then.plan.reference == now.plan.reference
    if then.plan.workload != now.plan.workload or not same_judge or not same_data(then, now):
        return []
    return trainings_of(then.reference, now.reference)


def encode(diff: Diff) -> bytes:
    """A comparison as one JSON document."""
    return msgspec.json.encode(diff)


def exit_status(diff: Diff) -> int:
    """0 same, moved or better; 1 worse; 2 nothing could be compared."""
    return {"worse": 1, "not comparable": 2}.get(diff.verdict, 0)


def _match(
    then: Record, now: Record, names: dict[str, str]
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of labels, and the labels of one run only."""
    _check_names(then, now, names, "--label")
    taken = set(names.values())
    pairs = [
        (label, other)
        for label in then.plan.labels
        if (other := names.get(label, label)) in now.plan.labels
        and (label in names or other not in taken)
    ]
    paired = dict(pairs)
    return (
        pairs,
        [label for label in then.plan.labels if label not in paired],
        [label for label in now.plan.labels if label not in paired.values()],
    )


def _check_names(then: Record, now: Record, names: dict[str, str], option: str) -> None:
    for side, record, labels in (("first", then, names), ("second", now, names.values())):
        for label in labels:
            if label not in record.plan.labels:
                known = ", ".join(record.plan.labels)
                raise InputError(f"{option}: the {side} run has no {label!r}, but {known}")
    if len(set(names.values())) < len(names):
        raise InputError(f"{option}: every label of the second run once")


def _side(record: Record, verdict: Verdict, folder: str) -> Side:
    return Side(
        run=record.run,
        record=folder,
        started=record.started,
        ended=record.ended,
        profile=record.plan.profile,
        harness_version=record.harness_version,
        machine=machine_name(machine_key(record)),
        verdict=verdict.verdict,
        summary=verdict.summary,
    )


def _label(then: Of, now: Of, *, within: bool) -> LabelDiff:
    trained = then.results.training, now.results.training
    return LabelDiff(
        labels=[then.label, now.label],
        status=[then.judged.status, now.judged.status],
        reason=[then.judged.reason, now.judged.reason],
        reproducible=[then.judged.reproducible, now.judged.reproducible],
        rungs=rungs_of(then, now),
        trainings=(
            trainings_of(*trained, (churn_of(then), churn_of(now)))
            if same_data(then.record, now.record)
            else []
        ),
        speed=speed_of(then, now, one_run=within),
        first_step_ns=[
            of.judged.step_time.first_step_ns
            if of.judged.step_time is not None and of.judged.agrees
            else None
            for of in (then, now)
        ],
        peak_rss_bytes=[of.process.peak_rss_bytes if of.process else None for of in (then, now)],
    )


def _cautions(
    then: Record,
    now: Record,
    verdicts: tuple[Verdict, Verdict],
    labels: list[LabelDiff],
    *,
    within: bool,
) -> list[str]:
    """What a reader must know first: what cannot be compared, and what is odd about the runs."""
    plans, runs = (then.plan, now.plan), (then, now)
    cautions = []
    if plans[0].workload != plans[1].workload:
        cautions.append(
            "another workload is trained: nothing of the numbers or times is comparable"
        )
    if not same_data(then, now):
        data = [f"{r.dataset.name} {r.dataset.sha256[:12]}" if r.dataset else "none" for r in runs]
        cautions.append(
            f"other data ({data[0]}, now {data[1]}): trainings are not compared, and of the "
            "results only those that were given the same numbers"
        )
    if plans[0].reference != plans[1].reference:
        cautions.append(
            f"judged against {plans[0].reference}, now against {plans[1].reference}: distances "
            "are not compared, bits are"
        )
    if plans[0].seeds != plans[1].seeds:
        seeds = [", ".join(map(str, plan.seeds)) for plan in plans]
        cautions.append(f"seeds {seeds[0]}, now {seeds[1]}: compared is what both have")
    if plans[0].profile != plans[1].profile:
        cautions.append(
            f"profile {plans[0].profile}, now {plans[1].profile}: compared is what both measured"
        )
    wanted = answers(then), answers(now)
    if other := [n for n in wanted[0] if wanted[1].get(n, wanted[0][n]) != wanted[0][n]]:
        cautions.append(f"the harness's own known answers are not the same: {', '.join(other)}")
    other_given = sum(rung.given_other for label in labels for rung in label.rungs)
    if other_given and same_data(then, now):
        cautions.append(
            "results not given the same numbers in both runs (the reference's last bits, or "
            f"another training), so not compared bit for bit: {other_given}"
        )
    if reason := other_machine(then, now):
        cautions.append(f"times are not compared: {reason}")
    if within:
        return cautions + _cautions_of("the run", now, verdicts[1])
    for which, record, verdict in zip(("first", "second"), runs, verdicts, strict=True):
        cautions += _cautions_of(f"the {which} run", record, verdict)
    return cautions + ([f"both are run {then.run}"] if then.run == now.run else [])


def _cautions_of(which: str, record: Record, verdict: Verdict) -> list[str]:
    """What a reader must know of one of the runs."""
    cautions = []
    if record.ended != FINISHED:
        cautions.append(f"{which} is not finished: {record.ended}")
    elif reason := trouble(record):
        cautions.append(f"{which} is void: {reason}")
    planted = [f"{n} ({p})" for n, label in record.plan.labels.items() if (p := label.plant)]
    if planted:
        cautions.append(f"FAULT PLANTED in {which}: {', '.join(planted)}")
    if record.dataset is not None and record.dataset.synthetic:
        cautions.append(f"SYNTHETIC data in {which}")
    shaky = [n for n, label in verdict.labels.items() if label.reproducible is False]
    if shaky:
        cautions.append(
            f"not deterministic in {which}: {', '.join(shaky)}; their bits differ from run to run"
        )
    return cautions


def _compared(label: LabelDiff) -> bool:
    """Whether anything of a label was compared."""
    return (
        any(r.identical + r.moved for r in label.rungs)
        or bool(label.trainings)
        or label.speed.change is not None
    )


def _word(labels: list[LabelDiff], moves: list[Move], *, same_work: bool) -> tuple[Word, str]:
    """The word, and in a sentence what moved first, and how much else."""
    if not same_work:
        return "not comparable", "the runs train different workloads"
    if not labels:
        return "not comparable", "no label is in both runs"
    if not any(map(_compared, labels)) and all(m.direction == "moved" for m in moves):
        return "not comparable", "nothing was measured in both runs"
    if moves:
        more = f" (and {len(moves) - 1} more)" if len(moves) > 1 else ""
        return moves[0].direction, f"{moves[0].text}{more}"
    results = sum(r.identical for label in labels for r in label.rungs)
    other = sum(r.given_other for label in labels for r in label.rungs)
    sentence = f"{results} results are the same, bit for bit"
    if other:
        sentence += f" ({other} more were given other numbers)"
    return "same", f"{sentence}; steps: {_counted(label.speed for label in labels)}"


def _counted(speeds: Iterable[SpeedDiff]) -> str:
    counts = Counter(
        s.outcome if s.claim or s.change is None else "indicative, no claim" for s in speeds
    )
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
