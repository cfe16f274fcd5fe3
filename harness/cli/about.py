"""Verbs about what is here: list, doctor, data."""

from __future__ import annotations

from pathlib import Path

from harness.cli import options as opts
from harness.cli.output import at_work, print_document, warn


def list_(as_json: opts.Json = False) -> int:
    """Backends, variants, devices and workloads, and what is missing here."""
    from harness.plan import catalogue

    document = catalogue.describe()
    print_document(document, as_json, catalogue.as_text(document))
    return 0


def doctor(
    backend: opts.Backends = None,
    threads: opts.Threads = None,
    workload: opts.WorkloadName = None,
    rooms: opts.Rooms = None,
    results_dir: opts.ResultsDir = Path("results"),
    quick: opts.Quick = False,
    as_json: opts.Json = False,
) -> int:
    """What would disturb a measurement here, and what to do about it."""
    from harness.doctor import lines as pages
    from harness.doctor.system import examine_system
    from harness.plan.choices import Choices
    from harness.plan.make import make_plan
    from harness.workers import providers

    chosen = Choices(
        backends=tuple(backend or ()), threads=threads, rooms=None if rooms is None else str(rooms)
    )
    plan = make_plan(chosen, *providers.find(workload))
    lines = examine_system(plan, results_dir)
    if not quick:
        from harness.doctor.neighbours import examine_workers

        with at_work() as progress:
            lines += examine_workers(plan, progress)
    document = pages.describe(lines)
    print_document(document, as_json, pages.as_text(document))
    return 0


def data_(
    workload: opts.WorkloadName = None,
    dataset: opts.DatasetName = "auto",
    data_dir: opts.DataDir = None,
    as_json: opts.Json = False,
) -> int:
    """Find (or fetch) a workload's data, verify them, and describe them."""
    import msgspec

    from harness import data
    from harness.record.facts import describe_dataset
    from harness.workers import providers

    of = providers.find(workload)[0]
    facts = describe_dataset(data.of_workload(of, dataset, data_dir, warn=warn))
    document = msgspec.to_builtins(facts)
    text = "\n".join(f"{name}: {value}" for name, value in document.items())
    print_document(document, as_json, text)
    return 0
