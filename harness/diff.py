"""What moved from one stored run to another: numbers, speed, environment, in one word.

Both runs are judged by today's limits. Whether a result is the same is asked bit for bit, of
results that were given the same parameters and batch (their digests say so). Times are compared as
`harness/baseline.py` does, and only where machine, threads and configuration are the same. Pure:
takes stored records, starts nothing; imports no framework.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from harness import baseline as baselines
from harness.baseline import Unit
from harness.checks.finding import Finding, RungVerdict
from harness.checks.numbers import PRECISION
from harness.errors import InputError
from harness.facts import machine_key, machine_name
from harness.limits import DECIDING, RUNGS
from harness.record import (
    FINISHED,
    INTERRUPTED,
    Churn,
    Measurement,
    Number,
    Process,
    Record,
    Results,
    Training,
    number,
)
from harness.timing_stats import MIN_SESSIONS, Change, change
from harness.verdict import LabelVerdict, Verdict, judge

SCHEMA = 1

Word = Literal["same", "moved", "better", "worse", "not comparable"]
Direction = Literal["worse", "better", "moved"]
Kind = Literal["run", "label", "verdict", "results", "judge", "training", "speed"]
Speed = Literal["slower", "faster", "same", "inconclusive", "not comparable"]

# Free-running rungs: what they are given is the start, the data and the order of the batches.
FREE = ("lockstep", "trajectory")
# Of a plan, what cannot move a result: where the data lies, and the labels, told one by one.
NO_PART_OF_PLAN = ("data_dir", "labels")
OF_DATA = ("name", "synthetic", "sha256", "train", "test")
# A float64 training of the reference is not the same to the last bit from run to run (the sums of a
# threaded product); what moves by less is no movement. The limit of the rung lockstep, which
# correct code keeps by a factor of 500.
WOBBLE = 1e-12
# So many changes of the environment are named in the one sentence; more are counted.
MOST_NAMED = 4

T = TypeVar("T")
# One measurement's place in a run; the last tells apart those that a record holds twice.
Key = tuple[str, str, str, str, int]  # dtype, rung, case, tensor


class Side(msgspec.Struct, kw_only=True):
    """One of the two runs. `record`: where it lies; `machine`: the name of its stable facts."""

    run: str
    record: str
    started: str
    ended: str
    profile: str
    harness_version: str
    machine: str
    verdict: str
    summary: str


class Judged(msgspec.Struct, kw_only=True):
    """One rung of one label in one run. `share`: value over limit, None where there is none."""

    verdict: RungVerdict
    value: Number | None
    limit: float | None
    share: Number | None
    declared: bool


class At(msgspec.Struct, kw_only=True):
    """One result that both runs have, and its distances from the judge then and now."""

    dtype: str
    case: str
    step: int | None
    tensor: str
    distances: list[Number | None]


class RungDiff(msgspec.Struct, kw_only=True):
    """One rung of one label: the judgements, and its results counted by what became of them.

    `identical`: the same bits; `moved`: other bits, though given the same numbers; `given_other`:
    other bits, and what was given differs or is not known; `only_then`, `only_now`: measured in one
    run. `judge_moved`: the same bits at another distance (by more than WOBBLE). `first`: the
    earliest that moved; `largest`: the largest change of a distance, of these two kinds.
    """

    rung: str
    then: Judged | None
    now: Judged | None
    identical: int = 0
    moved: int = 0
    given_other: int = 0
    only_then: int = 0
    only_now: int = 0
    judge_moved: int = 0
    first: At | None = None
    largest: At | None = None


class TrainingDiff(msgspec.Struct, kw_only=True):
    """One free training that both runs have. Pairs are [then, now].

    `steps`: so many, from the first on, saw the same number of samples and are compared;
    `first_step`: the first of them whose losses differ, None where all are the same; `furthest`:
    the largest |now - then| / |then| of their losses. `alike`: both are of the same batches to the
    end; only then are the other figures comparable. `identical`: the losses and, where alike, every
    epoch's figures. `loss`: the last epoch's mean; `accuracy`: the last on the test set; `churn`:
    test images of another class than the reference's.
    """

    dtype: str
    seed: int
    steps: int
    first_step: int | None
    furthest: Number
    alike: bool
    identical: bool
    loss: list[Number | None]
    accuracy: list[Number | None]
    churn: list[int | None]


class SpeedDiff(msgspec.Struct, kw_only=True):
    """One label's steps now over then. `claim`: whether both runs have sessions enough for one.

    `unit`: of `change`, multiples of the GEMM floor or the steps themselves; `steps_ns`: the
    geometric means of the sessions' median step, [then, now].
    """

    outcome: Speed
    reason: str
    claim: bool = False
    change: Change | None = None
    unit: Unit | None = None
    steps_ns: list[float] = []


class Changed(msgspec.Struct, kw_only=True):
    """One thing that is not the same around the runs. `where`: a label, machine, plan, …"""

    where: str
    what: str
    then: str | None
    now: str | None


class Move(msgspec.Struct, kw_only=True):
    """One thing that moved, in a sentence. `label`: its name now; None: of the whole run.

    `kind`: what it is of: a run that is void, a label that failed or is in one run only, a rung's
    verdict, results (their bits), the judge (the same bits at another distance), a training, speed.
    """

    direction: Direction
    kind: Kind
    label: str | None
    rung: str | None
    text: str


class LabelDiff(msgspec.Struct, kw_only=True):
    """One label of both runs. Pairs are [then, now].

    `reproducible`: whether it repeats itself bit for bit within a run (None: not measured).
    `first_step_ns` (with what is compiled) and `peak_rss_bytes` are shown; no claim rests on them.
    """

    labels: list[str]
    status: list[str]
    reason: list[str | None]
    reproducible: list[bool | None]
    rungs: list[RungDiff]
    trainings: list[TrainingDiff]
    speed: SpeedDiff
    first_step_ns: list[int | None]
    peak_rss_bytes: list[int | None]

    @property
    def name(self) -> str:
        """The label, or both where it has another name now."""
        then, now = self.labels
        return then if then == now else f"{then} → {now}"


class Diff(msgspec.Struct, kw_only=True):
    """What moved from the run `then` to the run `now`.

    `cautions`: what a reader must know first, above all what cannot be compared. `only_then`,
    `only_now`: labels of one run. `reference`: the reference's own trainings. `moves`: the worse
    first, then the better, then what is neither.
    """

    schema: int = SCHEMA
    verdict: Word
    summary: str
    then: Side
    now: Side
    cautions: list[str]
    moves: list[Move]
    labels: list[LabelDiff]
    only_then: list[str]
    only_now: list[str]
    reference: list[TrainingDiff]
    environment: list[Changed]


class _Of(NamedTuple):
    """One label of one run."""

    record: Record
    verdict: Verdict
    label: str

    @property
    def judged(self) -> LabelVerdict:
        return self.verdict.labels[self.label]

    @property
    def results(self) -> Results:
        return self.record.results.get(self.label, Results())

    @property
    def process(self) -> Process | None:
        return self.judged.process


def compare(
    then: Record,
    now: Record,
    names: dict[str, str] | None = None,
    folders: tuple[str, str] = ("", ""),
) -> Diff:
    """What moved from one run to the other.

    names: labels of the first run that have another name in the second; `folders`: where the two
    lie, to be told. InputError for a name that a run does not have.
    """
    verdicts = judge(then), judge(now)
    pairs, only_then, only_now = _match(then, now, names or {})
    same_work = then.plan.workload == now.plan.workload
    labels, moves = [], _of_runs(then, now)
    for name, other in pairs if same_work else []:
        here, there = _Of(then, verdicts[0], name), _Of(now, verdicts[1], other)
        labels.append(label := _label(here, there))
        moves += _moves(label, there)
    reference: list[TrainingDiff] = []
    if same_work and then.plan.reference == now.plan.reference and _same_data(then, now):
        reference = _trainings(then.reference, now.reference, [], [])
        for training in reference:
            if isinstance(training.furthest, str) or training.furthest > WOBBLE:
                moves.append(_move("moved", "training", _told(then.plan.reference, training)))
    moves += [_move("moved", "label", f"{n}: in the first run only", n) for n in only_then]
    moves += [_move("moved", "label", f"{n}: in the second run only", n) for n in only_now]
    moves.sort(key=_order)
    environment = _environment(then, now, pairs)
    word, sentence = _word(labels, moves, same_work=same_work)
    return Diff(
        verdict=word,
        summary=f"{sentence}; {_around(environment)}",
        then=_side(then, verdicts[0], folders[0]),
        now=_side(now, verdicts[1], folders[1]),
        cautions=_cautions(then, now, verdicts, labels),
        moves=moves,
        labels=labels,
        only_then=only_then,
        only_now=only_now,
        reference=reference,
        environment=environment,
    )


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
    for side, record, given in (("first", then, names), ("second", now, names.values())):
        for label in given:
            if label not in record.plan.labels:
                known = ", ".join(record.plan.labels)
                raise InputError(f"--label: the {side} run has no {label!r}, but {known}")
    if len(set(names.values())) < len(names):
        raise InputError("--label: every label of the second run once")
    taken = set(names.values())
    pairs = []
    for label in then.plan.labels:
        other = names.get(label, label)
        if other in now.plan.labels and (label in names or other not in taken):
            pairs.append((label, other))
    here, there = {label for label, _ in pairs}, {other for _, other in pairs}
    return (
        pairs,
        [label for label in then.plan.labels if label not in here],
        [label for label in now.plan.labels if label not in there],
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


def _label(then: _Of, now: _Of) -> LabelDiff:
    same_data = _same_data(then.record, now.record)
    return LabelDiff(
        labels=[then.label, now.label],
        status=[then.judged.status, now.judged.status],
        reason=[then.judged.reason, now.judged.reason],
        reproducible=[then.judged.reproducible, now.judged.reproducible],
        rungs=_rungs(then, now),
        trainings=(
            _trainings(
                then.results.training, now.results.training, then.results.churn, now.results.churn
            )
            if same_data
            else []
        ),
        speed=_speed(then, now),
        first_step_ns=[
            of.judged.step_time.first_step_ns if of.judged.step_time else None for of in (then, now)
        ],
        peak_rss_bytes=[of.process.peak_rss_bytes if of.process else None for of in (then, now)],
    )


def _same_data(then: Record, now: Record) -> bool:
    """Whether both runs had the same data; one without any says nothing."""
    return (
        then.dataset is not None
        and now.dataset is not None
        and then.dataset.sha256 == now.dataset.sha256
    )


# Numbers.


def _rungs(then: _Of, now: _Of) -> list[RungDiff]:
    found = {
        rung: RungDiff(
            rung=rung,
            then=_judged(then.judged.findings.get(rung)),
            now=_judged(now.judged.findings.get(rung)),
        )
        for rung in RUNGS
    }
    same_judge = then.record.plan.reference == now.record.plan.reference
    before, after = _keyed(then.results), _keyed(now.results)
    given = _given(then.results), _given(now.results)
    moved: dict[str, list[tuple[Measurement, Measurement]]] = {rung: [] for rung in RUNGS}
    shifted: dict[str, list[tuple[float, At]]] = {rung: [] for rung in RUNGS}
    for key in {**before, **after}:
        rung = found.get(key[1])
        if rung is None:  # a record of somebody else's making: no rung of ours
            continue
        if key not in after:
            rung.only_then += 1
            continue
        if key not in before:
            rung.only_now += 1
            continue
        old, new = before[key], after[key]
        off = _apart(old, new) if same_judge else 0.0
        if (old.digest, old.shape) == (new.digest, new.shape):
            rung.identical += 1
            off = off if off > WOBBLE else 0.0
            rung.judge_moved += off > 0
        elif not _given_the_same(old, new, then.record, now.record, given):
            rung.given_other += 1
            continue
        else:
            rung.moved += 1
            moved[rung.rung].append((old, new))
        if off > 0:
            shifted[rung.rung].append((off, _at(old, new)))
    for name, rung in found.items():
        if moved[name]:
            rung.first = _at(*min(moved[name], key=lambda pair: _when(pair[0])))
        if shifted[name]:
            rung.largest = max(shifted[name], key=lambda item: item[0])[1]
    return list(found.values())


def _judged(finding: Finding | None) -> Judged | None:
    if finding is None:
        return None
    return Judged(
        verdict=finding.verdict,
        value=finding.value,
        limit=finding.limit,
        share=number(float(finding.value) / finding.limit)
        if finding.value is not None and finding.limit
        else None,
        declared=finding.expected is not None,
    )


def _keyed(results: Results) -> dict[Key, Measurement]:
    """Measurements by place."""
    seen: Counter[tuple[str, str, str, str]] = Counter()
    found: dict[Key, Measurement] = {}
    for m in results.measurements:
        place = m.dtype, m.rung, m.case, m.tensor
        found[*place, seen[place]] = m
        seen[place] += 1
    return found


Given = dict[tuple[str, str], dict[str, str]]


def _given(results: Results) -> Given:
    """By dtype and case: the digests of parameters and batch, as the device held them."""
    found: Given = {}
    for m in results.measurements:
        if m.rung == "inputs":
            found.setdefault((m.dtype, m.case), {})[m.tensor] = m.digest
    return found


def _given_the_same(
    old: Measurement, new: Measurement, then: Record, now: Record, given: tuple[Given, Given]
) -> bool:
    """Whether two results were surely made of the same numbers."""
    if old.rung in FREE:
        return (
            _same_data(then, now)
            and then.plan.seeds[0] == now.plan.seeds[0]
            and (old.rung == "lockstep" or then.plan.trajectory == now.plan.trajectory)
        )
    if old.rung == "inputs" or old.case == PRECISION[0]:
        # What is wanted of these is what was given, and a distance of 0 says that it came back.
        return not (old.distance == 0 and new.distance == 0)
    before, after = (side.get((old.dtype, old.case), {}) for side in given)
    return bool(before) and before == after


def _apart(old: Measurement, new: Measurement) -> float:
    """How far the distance moved; infinite where only one has a finite one."""
    sizes = [
        float(m.distance) if m.problem is None and m.distance is not None else math.nan
        for m in (old, new)
    ]
    if all(map(math.isfinite, sizes)):
        return abs(sizes[1] - sizes[0])
    alike = sizes[0] == sizes[1] or all(map(math.isnan, sizes))
    return 0.0 if alike else math.inf


def _at(old: Measurement, new: Measurement) -> At:
    return At(
        dtype=old.dtype,
        case=old.case,
        step=old.step,
        tensor=old.tensor,
        distances=[old.distance, new.distance],
    )


def _when(m: Measurement) -> tuple[bool, int]:
    """The earliest step first, made batches last."""
    return m.step is None, m.step or 0


def _trainings(
    then: list[Training], now: list[Training], churn_then: list[Churn], churn_now: list[Churn]
) -> list[TrainingDiff]:
    """The trainings, by dtype and seed, that both runs have some common step of."""
    after = {(t.dtype, t.seed, t.whole): t for t in now}
    # A whole one first: the other side may have cut its lockstep short.
    for training in now:
        after.setdefault((training.dtype, training.seed, not training.whole), training)
    found = []
    for old in then:
        new = after.get((old.dtype, old.seed, old.whole))
        if new is None or not (steps := _common_steps(old, new)):
            continue
        pairs = [*zip(old.losses[:steps], new.losses[:steps], strict=True)]
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        alike = old.rows == new.rows
        epochs = [
            *zip(old.epoch_losses, new.epoch_losses, strict=False),
            *zip(old.test_accuracy, new.test_accuracy, strict=False),
        ]
        churn = [
            next((c.differ for c in side if c.seed == old.seed and t.whole), None)
            for side, t in ((churn_then, old), (churn_now, new))
        ]
        figures_differ = any(a != b for a, b in epochs) or (
            None not in churn and churn[0] != churn[1]
        )
        found.append(
            TrainingDiff(
                dtype=old.dtype,
                seed=old.seed,
                steps=steps,
                first_step=first,
                furthest=number(max(_relative(a, b) for a, b in pairs)),
                alike=alike,
                identical=first is None and not (alike and figures_differ),
                loss=[_last(old.epoch_losses), _last(new.epoch_losses)],
                accuracy=[_last(old.test_accuracy), _last(new.test_accuracy)],
                churn=churn,
            )
        )
    return found


def _common_steps(old: Training, new: Training) -> int:
    """Steps from the first on that saw as many samples in both, and whose losses both have."""
    most = min(len(t.losses) for t in (old, new))
    sizes = zip(old.rows[:most], new.rows[:most], strict=False)
    steps = 0
    for a, b in sizes:
        if a != b:
            break
        steps += 1
    return steps


def _relative(then: Number, now: Number) -> float:
    """|now - then| / |then|; infinite where only one is finite, or only `then` is zero."""
    if then == now:
        return 0.0
    a, b = float(then), float(now)
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0:
        return math.inf
    return abs(b - a) / abs(a)


def _last(values: Sequence[T]) -> T | None:
    return values[-1] if values else None


# Speed.


def _speed(then: _Of, now: _Of) -> SpeedDiff:
    """A label's steps now over then, where they may be compared at all."""
    if reason := _other_machine(then.record, now.record):
        return SpeedDiff(outcome="not comparable", reason=reason)
    for when, of in (("then", then), ("now", now)):
        if reason := baselines.why_unranked(of.label, of.record, of.verdict):
            return SpeedDiff(outcome="not comparable", reason=f"{when}: {reason}")
    before, after = (baselines.times(of.label, of.record, of.verdict) for of in (then, now))
    if reason := baselines.why_unlike(before, after):
        return SpeedDiff(outcome="not comparable", reason=reason)
    # The larger of two plans' factors, so that the answer is the same from either side.
    factor = max(of.record.plan.timing.factor for of in (then, now))
    if not 1 < factor < math.inf:
        reason = f"the plan's factor {factor:g} is none: more than 1, and finite"
        return SpeedDiff(outcome="not comparable", reason=reason)
    found = change(before.logs, after.logs, factor)
    claim = min(found.n_before, found.n_after) >= MIN_SESSIONS
    sessions = f"{found.n_before} and {found.n_after} sessions"
    if not claim:
        reason = f"indicative, no claim: {sessions}, and a claim needs {MIN_SESSIONS} in each run"
    elif found.verdict == "inconclusive":
        reason = f"{sessions}: neither surely within {factor:g} times, nor beyond it"
    else:
        reason = f"{sessions}, factor {factor:g}"
    return SpeedDiff(
        outcome=found.verdict,
        reason=reason,
        claim=claim,
        change=found,
        unit=before.unit,
        steps_ns=[baselines.geometric_mean(side.step_ns) for side in (before, after)],
    )


def _other_machine(then: Record, now: Record) -> str | None:
    """Why no time of the two runs can be compared; None where nothing stands against it."""
    machines = machine_key(then), machine_key(now)
    if machines[0] != machines[1]:
        return f"another machine: {baselines.differences(*machines)}"
    if then.plan.threads != now.plan.threads:
        return f"threads were {then.plan.threads}, are {now.plan.threads}"
    return None


# What moved.


def _move(
    direction: Direction, kind: Kind, text: str, label: str | None = None, rung: str | None = None
) -> Move:
    return Move(direction=direction, kind=kind, label=label, rung=rung, text=text)


def _order(move: Move) -> tuple[int, int]:
    """The worse first, then the better; each up the ladder, as a divergence is looked for."""
    above = {"run": -2, "label": -1, "training": len(RUNGS), "speed": len(RUNGS) + 1}
    place = RUNGS.index(move.rung) if move.rung in RUNGS else above[move.kind]
    return ("worse", "better", "moved").index(move.direction), place


def _of_runs(then: Record, now: Record) -> list[Move]:
    """A run that is void, and one that was and is not any more."""
    before, after = _trouble(then), _trouble(now)
    if after and not before:
        return [_move("worse", "run", f"the second run is void: {after}")]
    if before and not after:
        return [_move("better", "run", f"the first run was void: {before}")]
    return []


def _trouble(record: Record) -> str | None:
    """Why nothing of a run can be trusted."""
    wrong = [answer.name for answer in record.known_answers if answer.got != answer.want]
    if wrong:
        return f"known answers of the shared code are wrong: {', '.join(wrong)}"
    return record.ended if record.ended not in (FINISHED, INTERRUPTED) else None


def _moves(label: LabelDiff, now: _Of) -> list[Move]:
    """What moved of one label."""
    found = []

    def say(direction: Direction, kind: Kind, text: str, rung: str | None = None) -> None:
        found.append(_move(direction, kind, f"{label.name}{text}", now.label, rung))

    then_status, now_status = label.status
    if then_status != now_status:
        why = [f" ({reason})" if reason else "" for reason in label.reason]
        text = f": was {then_status}{why[0]}, is {now_status}{why[1]}"
        # About a skipped label nothing is known.
        known = "skipped" not in label.status
        worse: Direction = "worse" if now_status == "failed" else "better"
        say(worse if known else "moved", "label", text)
    for rung in label.rungs:
        direction = _of_verdict(rung, same_status=then_status == now_status)
        if direction is not None and rung.then and rung.now:
            text = f", {rung.rung}: {_in_words(rung.then)}, now {_in_words(rung.now)}"
            if rung.now.verdict != "agree":
                sentence = now.judged.findings[rung.rung].sentence
                for named in (f"{now.label}, ", f"{rung.rung}, ", f"{rung.rung}: "):
                    sentence = sentence.removeprefix(named)
                text += f": {sentence}"
            say(direction, "verdict", text, rung.rung)
        if rung.moved and rung.first is not None:
            of = rung.identical + rung.moved
            given = "" if rung.rung in (*FREE, "inputs") else " though given the same numbers"
            text = (
                f", {rung.rung}: {rung.moved} of {of} results not the same bits{given}"
                f"{_shaky(label)}; first {_place(rung.first)}"
            )
            say("moved", "results", text, rung.rung)
        if rung.judge_moved and rung.largest is not None:
            text = (
                f", {rung.rung}: {rung.judge_moved} of {rung.identical} results the same bits at "
                f"another distance from the reference; furthest {_place(rung.largest)}"
            )
            say("moved", "judge", text, rung.rung)
    found += [
        _move("moved", "training", _told(label.name, training) + _shaky(label), now.label)
        for training in label.trainings
        if not training.identical
    ]
    speed = label.speed
    if speed.outcome in ("slower", "faster") and speed.change is not None:
        unit = "as a multiple of the floor" if speed.unit == "floor" else "in time"
        text = f": its step is {speed.outcome}, {ratio(speed.change)} {unit} ({speed.reason})"
        say("worse" if speed.outcome == "slower" else "better", "speed", text)
    return found


def _of_verdict(rung: RungDiff, *, same_status: bool) -> Direction | None:
    """Whether a rung's judgement became better or worse; None where it says no more than before.

    Of rungs that do not decide, "inconclusive" tells how much was measured, not what was found; so
    it does of every rung where a label did not run in both.
    """
    if rung.then is None or rung.now is None:
        return None
    ranks = []
    for side in (rung.then, rung.now):
        if side.verdict == "disagree" and not side.declared:
            ranks.append(0)
        elif side.verdict == "inconclusive" and rung.rung in DECIDING and same_status:
            ranks.append(1)
        else:
            ranks.append(2)
    if ranks[0] != ranks[1]:
        return "worse" if ranks[1] < ranks[0] else "better"
    if (rung.then.verdict, rung.then.declared) == (rung.now.verdict, rung.now.declared):
        return None
    return None if "inconclusive" in (rung.then.verdict, rung.now.verdict) else "moved"


def _in_words(judged: Judged) -> str:
    """A judgement with its figure."""
    told = {
        "agree": "agreed" if not judged.declared else "as declared",
        "disagree": "as declared" if judged.declared else "disagrees",
    }.get(judged.verdict, judged.verdict)
    if judged.value is None:
        return told
    return f"{told} ({figure(judged.value)}" + (
        f", limit {figure(judged.limit)})" if judged.limit else ")"
    )


def _shaky(label: LabelDiff) -> str:
    """A label that does not even repeat itself: said wherever its bits are."""
    return " (it is not deterministic)" if False in label.reproducible else ""


def _place(at: At) -> str:
    then, now = map(figure, at.distances)
    return f"{at.tensor} of {at.case} in {at.dtype}, distance {then}, now {now}"


def _told(name: str, training: TrainingDiff) -> str:
    """What a training that moved did; the figures at its end where they are comparable."""
    start = f"{name}, training in {training.dtype}, seed {training.seed}: "
    if training.first_step is None:
        start += "the same losses, other figures"
    else:
        start += (
            f"losses differ from step {training.first_step} on, by {figure(training.furthest)} "
            f"at most (relative, first {training.steps})"
        )
    if not training.alike:
        return start
    pairs = [
        (what, values)
        for what, values in (
            ("last epoch's loss", [_exact(v, "{:.6f}") for v in training.loss]),
            ("test accuracy", [_exact(v, "{:.2%}") for v in training.accuracy]),
            ("churn", [None if v is None else str(v) for v in training.churn]),
        )
        if None not in values
    ]
    return start + "".join(f"; {what} {then}, now {now}" for what, (then, now) in pairs)


def _exact(value: Number | None, pattern: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return pattern.format(value)


def figure(value: Number | None) -> str:
    """A distance or limit in three digits."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else f"{value:.3g}"


def ratio(found: Change) -> str:
    """A ratio of times with its interval, where it has one."""
    interval = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return f"× {found.value:.3f}{interval}"


# The environment.


def _environment(then: Record, now: Record, pairs: list[tuple[str, str]]) -> list[Changed]:
    """Everything around the runs that is not the same: machine, plan, data, each label's own."""
    found: list[Changed] = []
    for name, other in pairs:
        where = name if name == other else f"{name} → {other}"
        before, after = _facts(then, name), _facts(now, other)
        # A label that did not start says nothing of its environment.
        if before and after:
            found += _changed(where, before, after)
        found += _changed(where, _of_label(then, name), _of_label(now, other))
    found += _changed(
        "harness", {"harness": then.harness_version}, {"harness": now.harness_version}
    )
    found += _changed("machine", then.machine, now.machine)
    found += _changed("data", _of_data(then), _of_data(now))
    found += _changed("known answers", _answers(then), _answers(now))
    found += _changed("plan", _of_plan(then), _of_plan(now))
    return found


def _changed(where: str, then: dict[str, str], now: dict[str, str]) -> list[Changed]:
    return [
        Changed(where=where, what=what, then=then.get(what), now=now.get(what))
        for what in dict.fromkeys((*then, *now))
        if then.get(what) != now.get(what)
    ]


def _answers(record: Record) -> dict[str, str]:
    """What was wanted of the shared code."""
    return {answer.name: answer.want for answer in record.known_answers}


def _of_plan(record: Record) -> dict[str, str]:
    plan = msgspec.to_builtins(record.plan)
    return _flat({name: v for name, v in plan.items() if name not in NO_PART_OF_PLAN})


def _of_label(record: Record, label: str) -> dict[str, str]:
    """How a label is configured; not where its interpreter lies, nor who asked for it."""
    configured: dict[str, Any] = msgspec.to_builtins(record.plan.labels[label])
    return _flat({n: v for n, v in configured.items() if n not in ("python", "asked_for")})


def _of_data(record: Record) -> dict[str, str]:
    """What the data are; not where they were found."""
    if record.dataset is None:
        return {}
    facts = msgspec.to_builtins(record.dataset)
    return {name: str(value) for name, value in facts.items() if name in OF_DATA}


def _facts(record: Record, label: str) -> dict[str, str]:
    """What a label's processes of the first session said of themselves; versions by bare name.

    A fact that is not the same in all of them stands with the dtype.
    """
    results = record.results.get(label, Results())
    found: dict[str, str] = {}
    for process in (p for p in results.processes if p.session == 0):
        for name, value in process.facts.items():
            bare = name.removeprefix("version:")
            known = found.setdefault(bare, value)
            if known != value:
                found[f"{bare} ({process.dtype})"] = value
    return found


def _flat(values: dict[str, Any], before: str = "") -> dict[str, str]:
    """Nested plain data as one level of texts, names joined by dots."""
    found: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = str(value)
    return found


# The word, and what is said first.


def _cautions(
    then: Record, now: Record, verdicts: tuple[Verdict, Verdict], labels: list[LabelDiff]
) -> list[str]:
    found = []
    if then.plan.workload != now.plan.workload:
        found.append("another workload is trained: nothing of the numbers or times is comparable")
    if not _same_data(then, now):
        names = [
            f"{r.dataset.name} {r.dataset.sha256[:12]}" if r.dataset else "none"
            for r in (then, now)
        ]
        found.append(
            f"other data ({names[0]}, now {names[1]}): trainings are not compared, and of the "
            "results only those that were given the same numbers"
        )
    if then.plan.reference != now.plan.reference:
        found.append(
            f"judged against {then.plan.reference}, now against {now.plan.reference}: distances "
            "are not compared, bits are"
        )
    if then.plan.seeds != now.plan.seeds:
        seeds = [", ".join(map(str, r.plan.seeds)) for r in (then, now)]
        found.append(f"seeds {seeds[0]}, now {seeds[1]}: compared is what both have")
    if then.plan.profile != now.plan.profile:
        found.append(
            f"profile {then.plan.profile}, now {now.plan.profile}: compared is what both measured"
        )
    wanted = _answers(then), _answers(now)
    other = [n for n in wanted[0] if n in wanted[1] and wanted[0][n] != wanted[1][n]]
    if other:
        found.append(f"the harness's own known answers are not the same: {', '.join(other)}")
    other_given = sum(rung.given_other for label in labels for rung in label.rungs)
    if other_given and _same_data(then, now):
        found.append(
            "results not given the same numbers in both runs (the reference's last bits, or "
            f"another course), so not compared bit for bit: {other_given}"
        )
    if reason := _other_machine(then, now):
        found.append(f"times are not compared: {reason}")
    for which, record, verdict in zip(("first", "second"), (then, now), verdicts, strict=True):
        if record.ended != FINISHED:
            found.append(f"the {which} run is not finished: {record.ended}")
        elif reason := _trouble(record):
            found.append(f"the {which} run is void: {reason}")
        planted = [f"{n} ({p})" for n, label in record.plan.labels.items() if (p := label.plant)]
        if planted:
            found.append(f"FAULT PLANTED in the {which} run: {', '.join(planted)}")
        if record.dataset is not None and record.dataset.synthetic:
            found.append(f"SYNTHETIC data in the {which} run")
        shaky = [n for n, label in verdict.labels.items() if label.reproducible is False]
        if shaky:
            found.append(
                f"not deterministic in the {which} run: {', '.join(shaky)}; their bits differ from "
                "run to run"
            )
    if then.run == now.run:
        found.append(f"both are run {then.run}")
    return found


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
    told = f"{results} results are the same, bit for bit"
    if other:
        told += f" ({other} more were given other numbers)"
    return "same", f"{told}; steps: {_counted(label.speed for label in labels)}"


def _counted(speeds: Iterable[SpeedDiff]) -> str:
    counts = Counter(
        s.outcome if s.claim or s.change is None else "indicative, no claim" for s in speeds
    )
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{n} {outcome}" for outcome, n in counts.items())


def _around(environment: list[Changed]) -> str:
    """What changed between the runs; that it is the cause is nowhere said."""
    if not environment:
        return "nothing around the runs changed"
    distinct = list(dict.fromkeys((c.what, c.then, c.now) for c in environment))
    if len(distinct) > MOST_NAMED:
        named = ", ".join(dict.fromkeys(what for what, _, _ in distinct[:MOST_NAMED]))
        return f"between the runs {len(distinct)} things changed ({named}, …)"
    told = ", ".join(f"{what} {then or '–'} → {now or '–'}" for what, then, now in distinct)
    return f"between the runs only {told} changed"
