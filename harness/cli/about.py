"""Verbs about what is here: list, doctor, data."""

from __future__ import annotations

import contextlib
from pathlib import Path

from harness.cli.options import Backends, DataDir, DatasetName, Json, Quick, ResultsDir, Threads
from harness.cli.output import print_document, warn


def list_(as_json: Json = False) -> int:
    """Backends, variants, devices and workloads, and what is missing here."""
    from harness.plan import catalogue

    document = catalogue.describe()
    print_document(document, as_json, catalogue.as_text(document))
    return 0


def doctor(
    backend: Backends = None,
    threads: Threads = None,
    results_dir: ResultsDir = Path("results"),
    quick: Quick = False,
    as_json: Json = False,
) -> int:
    """What would disturb a measurement here, and what to do about it."""
    from harness.doctor import lines as pages
    from harness.doctor.system import examine_system
    from harness.plan.choices import Choices
    from harness.plan.make import make_plan
    from harness.progress import make_progress
    from harness.signals import as_interrupt

    plan = make_plan(Choices(backends=tuple(backend or ()), threads=threads))
    lines = examine_system(plan, results_dir)
    if not quick:
        from harness.doctor.neighbours import examine_workers

        with as_interrupt(), contextlib.closing(make_progress()) as progress:
            lines += examine_workers(plan, progress)
    document = pages.describe(lines)
    print_document(document, as_json, pages.as_text(document))
    return 0


def data_(dataset: DatasetName = "auto", data_dir: DataDir = None, as_json: Json = False) -> int:
    """Find (or fetch) the data set, verify it, and describe it."""
    import msgspec

    from harness import data
    from harness.record.facts import describe_dataset

    facts = describe_dataset(data.load(dataset, data_dir, warn=warn))
    document = msgspec.to_builtins(facts)
    text = "\n".join(f"{name}: {value}" for name, value in document.items())
    print_document(document, as_json, text)
    return 0
