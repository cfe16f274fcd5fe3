"""Every small system trained as its text runs it, to its last epoch, in all four frameworks.

    python benchmarks/systems.py --page results/reports/systems.md [--only NAME]

What each ends at stands beside what the text reports and what an independent float64 program gets
from seed 0; where rounding does not grow, float64 runs the whole training in every framework. A
system that has been run is kept in --results-dir and not run again. Exit status 1 where one is not
as it should be.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from harness.plan.choices import Choices
from harness.plan.make import make_plan
from harness.plan.model import Plan
from harness.progress import make_progress
from harness.record import store
from harness.record.schema import Number, Record, Training
from harness.report import markdown
from harness.report.sections import Report, Section
from harness.report.words import duration
from harness.run import session
from harness.text import many
from harness.verdict.outcome import trainings
from harness.verdict.verdict import Verdict, how_it_failed, judge
from harness.workers import providers


class System(NamedTuple):
    """A workload, how it is run, what its text reports, and where the other program ends (`alone`).

    `exact`: epochs over which every framework's float64 is held to the reference's, step by step.
    """

    name: str
    text: str
    alone: str
    exact: int = 1
    seeds: str = "0"
    size: int | None = None
    source: str = ""
    backends: tuple[str, ...] = ()


SYSTEMS = (
    System("diabetes", "–", ".6535", exact=100),
    System("diabetes-relu-sigmoid", "–", ".6535", exact=100),
    System("logistic-regression", "–", ".6693", exact=100),
    System("nielsen-neuron", "the curve starts flat", "w -.6843, b -.6843"),
    System("nielsen-neuron-cross-entropy", "the curve starts steep", "w -2.2050, b -2.2050"),
    System("linear-regression", "w near 2, b near 3", "w 2.3428, b 2.0058"),
    System("himmelblau", "(3, 2)", "x 3, 2", exact=10),
    System("himmelblau", "(3, 2)", "x 3, 2", exact=10, source="FROM_RIGHT"),
    System("himmelblau", "–", "x -3.779310, -3.283186", exact=10, source="FROM_FAR_LEFT"),
    System("himmelblau", "–", "x 3.584428, -1.848127", exact=10, source="FROM_FAR_RIGHT"),
    System("diabetes-relu", "it fails", "step 814: an output exceeds 1"),
    System("diabetes-relu", "it fails", "step 0: every gradient is 0", seeds="2"),
    System("softmax-regression", "–", ".8209", exact=10),
    System("mlp-concise", "–", ".8229", exact=10),
    System("mnist-mlp", "–", ".9536", exact=10),
    System("mnist-mlp-concise", "–", ".9380", exact=10),
    System("nielsen-network", "95.42 % at its best", ".9483"),
    System("nielsen-cross-entropy", "96.49 % at its best", ".9595"),
    System("nielsen-deep", "96.57 %, with cross-entropy and decay", ".9530"),
    System(
        *("nielsen-network", "96.59 % at its best", ".8693"),
        seeds="0-4",
        size=100,
        backends=("numpy",),
    ),
)


WHAT = (
    "An accuracy is of the test set after the last epoch (of the training rows where there is no "
    "test set), of float32; where seeds are several, each one's. The reference is float64, and so "
    "is the independent program. What a text reports is one run of its own, from another start."
)


# A class is not learnt where fewer of its test samples than this share are right.
UNLEARNT = 0.1
STUCK = (
    "With 100 hidden units an output of nielsen-network adds up 100 numbers of N(1). Nine of ten "
    "targets are 0 and the learning rate is 3: the first epoch drives some outputs so far below 0 "
    "that sigmoid's slope at their own digit is 5e-7 to 1e-5 after it, against 1e-2 of the others "
    "(the float64 reference, seeds 0 to 4, first 2 000 images). Such a digit is learnt only once "
    "chance brings its output back, which is why accuracy climbs in steps of a tenth, and why "
    "float32 and float64 end apart."
)


def main() -> int:
    """Run what is asked for; 1 where a system does not agree."""
    parser = argparse.ArgumentParser(description="Train every small system to its end.")
    parser.add_argument("--page", type=Path, default=Path("results/reports/systems.md"))
    parser.add_argument("--results-dir", type=Path, default=Path(".cache/systems"))
    parser.add_argument("--only", action="append", help="only this system (repeatable)")
    asked = parser.parse_args()
    done = []
    for system in SYSTEMS:
        if asked.only and system.name not in asked.only:
            continue
        folder = asked.results_dir / _place(system)
        if not (folder / "latest").exists():
            print(f"{time.strftime('%H:%M:%S')} {_place(system)}", file=sys.stderr, flush=True)
            progress = make_progress()
            _, run = session.run(_plan(system), folder, progress)
            progress.close()
            (folder / "latest").write_text(run.name)
        record = store.read(folder / "runs" / (folder / "latest").read_text())
        done.append((system, record, judge(record)))
    asked.page.write_text(markdown.render(_report(done)))
    return int(any(verdict.verdict not in ("agree",) for _, _, verdict in done))


def _place(system: System) -> str:
    parts = (system.name, system.source, f"hidden={system.size}" if system.size else "")
    return "-".join(filter(None, (*parts, f"seed{system.seeds}" if system.seeds != "0" else "")))


def _plan(system: System) -> Plan:
    name = system.name.replace("-", "_")
    spec = f"harness.workloads.{name}:{system.source}" if system.source else system.name
    choices = Choices(
        profile="default",
        seeds=system.seeds,
        rounds=6,
        threads=1,  # most of these steps have no work for two
        backends=system.backends,
    )
    plan = make_plan(choices, *providers.find(spec, system.size))
    return msgspec.structs.replace(plan, lockstep_epochs=system.exact)


def _report(done: list[tuple[System, Record, Verdict]]) -> Report:
    names = [*dict.fromkeys(label for _, record, _ in done for label in record.plan.labels)]
    agreed = sum(verdict.verdict == "agree" for _, _, verdict in done)
    first = done[0][1]
    machine = first.machine.get("processor", ""), many(first.plan.threads, "thread"), first.started
    return Report(
        word="Systems",
        sentence="every small one as its text runs it, whole trainings",
        headline=[
            f"{agreed} of {len(done)} agree in all four frameworks · {' · '.join(machine)}",
            WHAT,
        ],
        sections=[
            Section(
                "Where they end",
                ("system", "seeds", "the text", "independent", "reference", *names, "verdict"),
                [_ends(*each, names) for each in done],
                figures=False,
            ),
            Section(
                "How long a training takes",
                ("system", "steps", *names),
                [_times(*each, names) for each in done],
                about="gather, put and step of all epochs, float32, the first seed",
                figures=False,
            ),
            Section(
                "Float64 of every framework against the reference, step by step",
                ("system", "steps", *names),
                [_exact(*each, names) for each in done],
                about="the largest distance of losses and parameters, relative",
            ),
            Section("What failed, and what is told of it", lines=[*_failed(done)]),
            Section(
                "Classes that a training never learnt",
                ("system", "training", "seed", "classes, and how many of theirs are right"),
                [row for system, record, _ in done for row in _unlearnt(system, record)],
                about=STUCK,
                figures=False,
            ),
        ],
    )


def _titled(system: System) -> str:
    at = {"FROM_RIGHT": "from (1, 0)", "FROM_FAR_LEFT": "from (-4, 0)"}
    start = at.get(system.source, "from (4, 0)") if system.source else ""
    size = f"{system.size} hidden" if system.size else ""
    return ", ".join(filter(None, (system.name, size, start)))


def _ends(system: System, record: Record, verdict: Verdict, names: list[str]) -> list[str]:
    reference = [t for t in record.reference if t.whole]
    of = [reference, *(_trained(record, name) for name in names)]
    ends = ["; ".join(map(_end, each)) or "–" for each in of]
    return [_titled(system), system.seeds, system.text, system.alone, *ends, verdict.verdict]


def _trained(record: Record, name: str) -> list[Training]:
    results = record.results.get(name)
    return trainings(results, "float32") if results is not None else []


def _end(training: Training) -> str:
    if training.test_accuracy:
        return _figure(training.test_accuracy[-1], 4)
    last = {name: states[-1] for name, states in training.path.items() if states}
    if last:
        return ", ".join(
            f"{name} {', '.join(_figure(v, 4) for v in values)}" for name, values in last.items()
        )
    return f"loss {_figure(training.losses[-1], 4)}"


def _figure(value: Number, digits: int) -> str:
    return value if isinstance(value, str) else f"{value:.{digits}f}"


def _times(system: System, record: Record, _: Verdict, names: list[str]) -> list[str]:
    trained = {name: _trained(record, name) for name in names}
    steps = next((len(of[0].losses) for of in trained.values() if of), 0)
    spent = [duration(_spent(of[0])) if of else "–" for of in trained.values()]
    return [_titled(system), str(steps), *spent]


def _spent(training: Training) -> int:
    parts = (training.gather_ns, training.put_ns, training.step_ns)
    return sum(map(sum, parts))


def _exact(system: System, record: Record, _: Verdict, names: list[str]) -> list[str | float]:
    furthest: list[str | float] = []
    for name in names:
        results = record.results.get(name)
        found = [m for m in results.measurements if m.rung == "lockstep"] if results else []
        numbers = [m.distance for m in found if isinstance(m.distance, float)]
        furthest.append(max(numbers) if numbers else "–")
    return [_titled(system), str(max(record.lockstep_steps) + 1), *furthest]


def _unlearnt(system: System, record: Record) -> Iterator[list[str]]:
    """A row a training that has a class of which hardly any test sample is right."""
    named = record.dataset.class_names if record.dataset is not None else []
    whole = [("reference", [t for t in record.reference if t.whole])]
    whole += [(name, _trained(record, name)) for name in record.results]
    for name, of in whole:
        for training in of:
            classes = [
                f"{named[k]}: {row[k]} of {sum(row)}"
                for k, row in enumerate(training.confusion)
                if row[k] < UNLEARNT * sum(row)
            ]
            if classes:
                yield [_titled(system), name, str(training.seed), "; ".join(classes)]


def _failed(done: list[tuple[System, Record, Verdict]]) -> Iterator[str]:
    for system, record, verdict in done:
        if (failure := record.failure) is not None:
            told = "; ".join(
                f"{one.label} ({one.dtype}): {one.raised or f'loss {one.loss}'}, largest output "
                f"{one.largest}, gradient {one.gradient}"
                for one in failure.told
            )
            yield f"{_titled(system)}, seed {failure.seed}: {how_it_failed(record)}. {told}."
        if verdict.verdict != "agree":
            yield f"{_titled(system)}: {verdict.summary}."


if __name__ == "__main__":
    sys.exit(main())
