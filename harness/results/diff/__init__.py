"""What moved from one stored run to another, or between labels of one: numbers, speed, environment.

Both sides are judged by today's limits. Whether a result is the same is asked bit for bit, of
results that were given the same parameters and batch (their digests say so). Times of two runs are
compared as `harness/results/baseline.py` does, and only where machine, threads and configuration
are the same; those of two labels of one run by ratios formed within its rounds. Pure: takes stored
records, starts nothing; imports no framework.

A file a question: `numbers`, `speed`; `sides` is what is around them, `moves` puts what moved into
sentences, `document` is what is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

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
    TrainingDiff,
    Word,
)
from harness.results.diff.moves import move, moves_of, of_runs, order, ratio, told_of, told_of_pair
from harness.results.diff.numbers import WOBBLE, churn_of, rungs_of, trainings_of
from harness.results.diff.sides import (
    Of,
    answers,
    around,
    changes,
    one_run,
    other_machine,
    same_data,
    trouble,
)
from harness.results.diff.speed import speed_of
from harness.verdict.verdict import Verdict, judge

__all__ = ["Diff", "Judged", "LabelDiff", "RungDiff", "TrainingDiff", "compare", "ratio"]


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
    before, after = judge(then), judge(now)
    within = only is not None and one_run(then, now)
    pairs, only_then, only_now = _match(then, now, names or {}, only, within=within)
    environment = changes(then, now, pairs)
    same_work = then.plan.workload == now.plan.workload
    labels, moves = [], [*of_runs(then, now)]
    for name, other in pairs if same_work else []:
        side = Of(now, after, other)
        labels.append(label := _label(Of(then, before, name), side, within=within))
        moves += moves_of(label, side)
        if only is not None:
            label.told = told_of_pair(label, environment)
    reference = [] if within else _of_references(then, now)  # one run has one
    for training in reference:
        if isinstance(training.furthest, str) or training.furthest > WOBBLE:
            moves.append(move("moved", "training", then.plan.reference + told_of(training)))
    for which, gone in (("first", only_then), ("second", only_now)):
        moves += [move("moved", "label", f"{n}: in the {which} run only", n) for n in gone]
    moves.sort(key=order)
    word, sentence = _word(labels, moves, same_work=same_work)
    asked = labels[0] if only is not None and len(labels) == 1 else None
    if asked is not None and word != "not comparable":
        sentence = asked.told
    else:
        asked = None
    sides = around(environment, "labels" if within else "runs", asked.name if asked else None)
    return Diff(
        verdict=word,
        summary=f"{sentence}; {sides}",
        then=_side(then, before, folders[0]),
        now=_side(now, after, folders[1]),
        cautions=[*_cautions(then, now, labels), *_of_each(then, now, before, after, within)],
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


def exit_status(diff: Diff, fail_on: str = "worse") -> int:
    """0 same, moved or better; 1 worse; 2 nothing could be compared.

    fail_on "moved": 1 where anything moved, whether for the worse or not.
    """
    if diff.moves and fail_on == "moved" and diff.verdict != "not comparable":
        return 1
    return {"worse": 1, "not comparable": 2}.get(diff.verdict, 0)


def _match(
    then: Record, now: Record, names: dict[str, str], only: dict[str, str] | None, *, within: bool
) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of labels, and the labels of one run only (with `only` none is asked for)."""
    option, asked = ("--label", names) if only is None else ("--pair", only)
    for side, record, labels in (("first", then, asked), ("second", now, asked.values())):
        for label in labels:
            if label not in record.plan.labels:
                known = ", ".join(record.plan.labels)
                raise InputError(f"{option}: the {side} run has no {label!r}, but {known}")
    if len(taken := set(asked.values())) < len(asked):
        raise InputError(f"{option}: every label of the second run once")
    if only is not None:
        if within and (same := next((a for a, b in only.items() if a == b), None)):
            raise InputError(f"--pair {same}={same}: a label of one run is the same as itself")
        return [*only.items()], [], []
    paired = {
        label: other
        for label in then.plan.labels
        if (other := names.get(label, label)) in now.plan.labels
        and (label in names or other not in taken)
    }
    return (
        [*paired.items()],
        [label for label in then.plan.labels if label not in paired],
        [label for label in now.plan.labels if label not in paired.values()],
    )


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
            of.judged.step_time.first_step_ns if of.judged.step_time and of.judged.agrees else None
            for of in (then, now)
        ],
        peak_rss_bytes=[of.process.peak_rss_bytes if of.process else None for of in (then, now)],
    )


def _cautions(then: Record, now: Record, labels: list[LabelDiff]) -> Iterator[str]:
    """What a reader must know first: what cannot be compared."""
    old, new, runs = then.plan, now.plan, (then, now)
    same = same_data(then, now)
    if old.workload != new.workload:
        yield "another workload is trained: nothing of the numbers or times is comparable"
    if not same:
        data = [f"{r.dataset.name} {r.dataset.sha256[:12]}" if r.dataset else "none" for r in runs]
        yield (
            f"other data ({data[0]}, now {data[1]}): trainings are not compared, and of the "
            "results only those that were given the same numbers"
        )
    if old.reference != new.reference:
        yield (
            f"judged against {old.reference}, now against {new.reference}: distances are not "
            "compared, bits are"
        )
    if old.seeds != new.seeds:
        seeds = [", ".join(map(str, plan.seeds)) for plan in (old, new)]
        yield f"seeds {seeds[0]}, now {seeds[1]}: compared is what both have"
    if old.profile != new.profile:
        yield f"profile {old.profile}, now {new.profile}: compared is what both measured"
    wanted, wants = answers(then), answers(now)
    if other := [name for name in wanted if wants.get(name, wanted[name]) != wanted[name]]:
        yield f"the harness's own known answers are not the same: {', '.join(other)}"
    given_other = sum(rung.given_other for label in labels for rung in label.rungs)
    if given_other and same:
        yield (
            "results not given the same numbers in both runs (the reference's last bits, or "
            f"another training), so not compared bit for bit: {given_other}"
        )
    if reason := other_machine(then, now):
        yield f"times are not compared: {reason}"


def _of_each(
    then: Record, now: Record, before: Verdict, after: Verdict, within: bool
) -> Iterator[str]:
    """What is odd about the runs themselves."""
    sides = [("the run", now, after)]
    if not within:
        sides = [("the first run", then, before), ("the second run", now, after)]
    for which, record, verdict in sides:
        if record.ended != FINISHED:
            yield f"{which} is not finished: {record.ended}"
        elif reason := trouble(record):
            yield f"{which} is void: {reason}"
        if planted := [f"{n} ({x.plant})" for n, x in record.plan.labels.items() if x.plant]:
            yield f"FAULT PLANTED in {which}: {', '.join(planted)}"
        if record.dataset is not None and record.dataset.synthetic:
            yield f"SYNTHETIC data in {which}"
        if shaky := [n for n, x in verdict.labels.items() if x.reproducible is False]:
            names = ", ".join(shaky)
            yield f"not deterministic in {which}: {names}; their bits differ from run to run"
    if then.run == now.run and not within:
        yield f"both are run {then.run}"


def _word(labels: list[LabelDiff], moves: list[Move], *, same_work: bool) -> tuple[Word, str]:
    """The word, and in a sentence what moved first, and how much else."""
    if not same_work:
        return "not comparable", "the runs train different workloads"
    if not labels:
        return "not comparable", "no label is in both runs"
    rungs = [rung for label in labels for rung in label.rungs]
    compared = any(r.identical + r.moved for r in rungs) or any(
        label.trainings or label.speed.change is not None for label in labels
    )
    if not compared and all(m.direction == "moved" for m in moves):
        return "not comparable", "nothing was measured in both runs"
    if moves:
        more = f" (and {len(moves) - 1} more)" if len(moves) > 1 else ""
        return moves[0].direction, f"{moves[0].text}{more}"
    other = sum(r.given_other for r in rungs)
    given = f" ({other} more were given other numbers)" if other else ""
    same = sum(r.identical for r in rungs)
    speeds = Counter(
        s.outcome if s.claim or s.change is None else "indicative, no claim"
        for s in (label.speed for label in labels)
    )
    counts = [f"{n} {outcome}" if len(speeds) > 1 else outcome for outcome, n in speeds.items()]
    return "same", f"{same} results are the same, bit for bit{given}; steps: {', '.join(counts)}"
