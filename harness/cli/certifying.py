"""The verb certify: one backend through the conformance kit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import SPEC, Device, Json, ResultsDir
from harness.cli.output import print_document, show
from harness.errors import InputError

Name = Annotated[str | None, typer.Argument(metavar="[LABEL=]SPEC", help=f"The backend: {SPEC}.")]
Python = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="The interpreter it runs under (or harness.toml)."),
]
Variant = Annotated[str | None, typer.Option(help="Another way of executing than its first.")]
Threads = Annotated[
    int, typer.Option(help="With fewer than there are processors, it is seen how many compute.")
]
ChecksNamed = Annotated[
    list[str] | None, typer.Option("--check", metavar="CHECK", help="Only this one (repeatable).")
]
ExpectedFailures = Annotated[
    list[str] | None,
    typer.Option(
        "--expect",
        metavar="CHECK=REASON",
        help="A known failure: shown, not counted; a failure once it is gone (repeatable).",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Default: certificates/<label>-<run>.json in --results-dir."),
]
ListChecks = Annotated[bool, typer.Option("--list", help="Only tell what is checked.")]


def certify(
    name: Name = None,
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
    from harness.progress import make_progress
    from harness.report import certificate as page
    from harness.signals import as_interrupt

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
        python=python,
        settled=settings.read().python,
        variant=variant,
        device=device,
        threads=threads,
        checks=tuple(check or ()),
        expect=dict(known),
    )
    stored.check_place(out, results_dir)
    with as_interrupt(), contextlib.closing(make_progress()) as progress:
        certificate = kit.certify(asked, progress)
    path = out or stored.place_for(certificate, results_dir)
    stored.write(certificate, path)
    if as_json:
        print_document(msgspec.to_builtins(certificate) | {"certificate": str(path)}, True, "")
    else:
        show(page.report(certificate, str(path)))
    return stored.exit_status(certificate)
