"""The verb certify: one backend through the conformance kit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from harness.cli.options import (
    SPEC,
    Device,
    Json,
    Place,
    Python,
    ResultsDir,
    Text,
    Texts,
    argument,
    option,
)
from harness.cli.output import at_work, print_document, show
from harness.errors import InputError

Name = Annotated[Text, argument("[LABEL=]SPEC", f"The backend: {SPEC}.")]
Workload = Annotated[
    Text, option("--workload SPEC", "What it is to train: a name, MODULE:NAME or FILE.py:NAME.")
]
Rooms = Annotated[
    Text, option("--rooms FOLDER", "A folder with your own files of models, by framework.")
]
Variant = Annotated[Text, option("--variant NAME", "Another way of executing than its first.")]
Threads = Annotated[
    int, option("--threads N", "With fewer than there are processors, it is seen how many compute.")
]
ChecksNamed = Annotated[
    Texts, option("--check CHECK", "Only this one (repeatable); no certificate.")
]
ExpectedFailures = Annotated[
    Texts,
    option(
        "--expect CHECK=REASON",
        "A known failure: shown, not counted; a failure once it is gone (repeatable).",
    ),
]
Out = Annotated[
    Place, option("--out FILE", "Default: certificates/<label>-<run>.json in --results-dir.")
]
ListChecks = Annotated[bool, option("--list", "Only tell what is checked.")]


def certify(
    name: Name = None,
    workload: Workload = None,
    rooms: Rooms = None,
    python: Python = None,
    variant: Variant = None,
    device: Device = "cpu",
    threads: Threads = 1,
    check: ChecksNamed = None,
    expect: ExpectedFailures = None,
    out: Out = None,
    results_dir: ResultsDir = Path("results"),
    list_checks: ListChecks = False,
    as_json: Json = False,
) -> int:
    """Put one backend through the conformance kit, and store its certificate."""
    import msgspec

    from harness.conformance import certificate as stored
    from harness.conformance import certify as kit
    from harness.plan import settings
    from harness.report import certificate as page

    if list_checks:
        print_document(page.catalogue(), as_json, page.catalogue_as_text())
        return 0
    if name is None:
        raise InputError(f"certify: which backend? {SPEC}")
    known = [kit.parse_expectation(text) for text in expect or []]
    if len(dict(known)) < len(known):
        raise InputError("--expect: every check once")
    asked = kit.ask_for(
        name,
        workload=workload,
        rooms=rooms,
        python=python,
        settled=settings.read().python,
        variant=variant,
        device=device,
        threads=threads,
        checks=tuple(check or ()),
        expect=dict(known),
    )
    if asked.whole:
        stored.check_place(out, results_dir)
    elif out is not None:
        raise InputError("--out: a part of the kit has no certificate; leave out --check")
    with at_work() as progress:
        certificate = kit.certify(asked, progress)
    path = None
    if certificate.whole:
        path = str(out or stored.place_for(certificate, results_dir))
        stored.write(certificate, Path(path))
    if as_json:
        print_document(msgspec.to_builtins(certificate) | {"certificate": path}, True, "")
    else:
        show(page.report(certificate, path))
    return stored.exit_status(certificate)
