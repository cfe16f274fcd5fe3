"""The command line: verbs only, no logic. Everything heavy is imported where it is used."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.errors import HarnessError, InputError

if TYPE_CHECKING:
    from harness.baseline import Baseline
    from harness.checks.finding import Part
    from harness.limits import Limit
    from harness.plan import Plan
    from harness.record import Record

INTERRUPTED_STATUS = 130

app = typer.Typer(
    name="harness",
    help="Does the same model compute the same, learn the same and run as fast in four frameworks?",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

baseline_app = typer.Typer(
    help="What steps take on this machine, stored and compared with later.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(baseline_app, name="baseline")

Profile = Annotated[str, typer.Option(help="smoke, default or full: how much is measured.")]
Backends = Annotated[
    list[str] | None, typer.Option("--backend", metavar="NAME", help="Only this one (repeatable).")
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", metavar="NAME=VARIANT", help="Another way of executing (repeatable)."
    ),
]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Precision = Annotated[
    str, typer.Option(help="strict; tf32 or bfloat16 where products may round their operands.")
]
Seeds = Annotated[str | None, typer.Option(metavar="0,1,2", help="Seeds; default: the profile's.")]
Threads = Annotated[int | None, typer.Option(help="The same number for every backend.")]
DatasetName = Annotated[str, typer.Option("--dataset", help="auto, fashion-mnist or synthetic.")]
DataDir = Annotated[Path | None, typer.Option(help="Folder with the four idx files.")]
ResultsDir = Annotated[Path, typer.Option(help="Where runs are stored.")]
ReferenceLabel = Annotated[
    str | None, typer.Option("--reference", help="What everything is judged against.")
]
Expect = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LABEL:RUNG=REASON",
        help="A known difference: shown, not counted; a failure once it is gone (repeatable).",
    ),
]
Operators = Annotated[
    bool, typer.Option("--operators", help="Also tabulate single operators (as profile full).")
]
AllVariants = Annotated[
    bool, typer.Option("--all-variants", help="Every variant of every backend, each a label.")
]
Sessions = Annotated[
    int | None,
    typer.Option(metavar="N", help="Timing sessions, in fresh processes each; a claim needs 5."),
]
Rounds = Annotated[int | None, typer.Option(metavar="N", help="Timing rounds of a session.")]
LimitsFile = Annotated[
    Path | None, typer.Option("--limits", help="A TOML file of limits that go before the table's.")
]
Largest = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="One page over all records instead: the largest value of each rung against its limit.",
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Inconclusive counts as disagreement.")]
Plants = Annotated[
    list[str] | None,
    typer.Option(
        "--plant",
        metavar="NAME=FILE:FUNCTION",
        help="Plant a fault in a backend, to see it caught (repeatable).",
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Most time a worker has for one command.")
]
Memory = Annotated[
    int | None, typer.Option(metavar="MB", help="Most memory a worker may add after its imports.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Quick = Annotated[bool, typer.Option("--quick", help="Only what needs no worker.")]
MaybeRecord = Annotated[
    Path | None, typer.Argument(help="Folder of a stored run; default: measure.", metavar="RECORD")
]
MaybeRecords = Annotated[
    list[Path] | None,
    typer.Argument(help="Folders of stored runs; default: measure.", metavar="RECORD..."),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline", metavar="FILE", help="Default: baselines/<machine>.json in --results-dir."
    ),
]
GivenBaseline = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="Also compare step times with this baseline."),
]
OneRecord = Annotated[Path, typer.Argument(help="Folder of a stored run.", metavar="RECORD")]
BundleFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where to; default: bundle, in the run's folder.")
]
Widths = Annotated[
    str | None,
    typer.Option("--widths", metavar="64,256", help="Hidden units; default: 64 to 4096."),
]
Batches = Annotated[
    str | None,
    typer.Option("--batches", metavar="32,256", help="Batch sizes; default: 32 to 1024."),
]
ThreadCounts = Annotated[
    str | None,
    typer.Option("--threads", metavar="1,2", help="Numbers of threads, each in fresh processes."),
]
Page = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the page here, pictures beside it.")
]
StoredScale = Annotated[
    Path | None,
    typer.Argument(help="A stored run of scale: show that, and run nothing.", metavar="RECORD"),
]
Records = Annotated[list[Path], typer.Argument(help="Folders of stored runs.", metavar="RECORD...")]


@app.command()
def compare(
    profile: Profile = "default",
    backend: Backends = None,
    variant: Variants = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    precision: Precision = "strict",
    seeds: Seeds = None,
    threads: Threads = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    results_dir: ResultsDir = Path("results"),
    reference: ReferenceLabel = None,
    baseline: GivenBaseline = None,
    strict: Strict = False,
    expect: Expect = None,
    operators: Operators = False,
    all_variants: AllVariants = False,
    sessions: Sessions = None,
    rounds: Rounds = None,
    plant: Plants = None,
    timeout: Timeout = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> int:
    """Run the backends, store the record, check it, and print the verdict: the main job."""
    plan = _plan(locals())
    if baseline is not None:
        _baseline(baseline)  # refused now, not after the run
    found = _read([_carry_out(plan, results_dir)])
    return _check(found, strict, as_json, report=True, baseline=baseline)


@app.command()
def run(
    profile: Profile = "default",
    backend: Backends = None,
    variant: Variants = None,
    device: Device = "cpu",
    dtype: Dtype = "float32",
    precision: Precision = "strict",
    seeds: Seeds = None,
    threads: Threads = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    results_dir: ResultsDir = Path("results"),
    reference: ReferenceLabel = None,
    expect: Expect = None,
    operators: Operators = False,
    all_variants: AllVariants = False,
    sessions: Sessions = None,
    rounds: Rounds = None,
    plant: Plants = None,
    timeout: Timeout = None,
    memory_limit: Memory = None,
    as_json: Json = False,
) -> int:
    """Measure and store a record; judge nothing."""
    from harness.verdict import run_status

    plan = _plan(locals())
    ((record, folder),) = _read([_carry_out(plan, results_dir)])
    _print_document({"record": str(folder), "ended": record.ended}, as_json, str(folder))
    return run_status(record)


@app.command()
def check(
    records: Records,
    limits: LimitsFile = None,
    baseline: GivenBaseline = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Judge stored records again, and write their verdict.json; starts no worker."""
    from harness.limits import read_limits

    table = (read_limits(limits), limits.name) if limits is not None else None
    found = _read(records)
    return _check(found, strict, as_json, report=False, limits=table, baseline=baseline)


@app.command()
def report(records: Records, largest: Largest = None, as_json: Json = False) -> int:
    """Print stored records' verdicts, and write their verdict.json and report.md."""
    if largest is not None:
        from harness.record import write_atomic
        from harness.report import largest as page

        text = page.render([record for record, _ in _read(records)])
        write_atomic(largest, text.encode())
        return 0
    return _check(_read(records), False, as_json, report=True, quiet=True)


@app.command()
def bundle(record: OneRecord, out: BundleFolder = None, as_json: Json = False) -> int:
    """Write a reproduction of a record's first divergence: tensors, and a script per framework."""
    from harness import bundle as reproduction

    ((found, folder),) = _read([record])
    made = reproduction.make_bundle(found, folder, out if out is not None else folder / "bundle")
    _print_document(reproduction.describe(made), as_json, reproduction.as_text(made))
    return 0


@baseline_app.command("save")
def baseline_save(
    record: MaybeRecord = None,
    backend: Backends = None,
    variant: Variants = None,
    device: Device = "cpu",
    threads: Threads = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    results_dir: ResultsDir = Path("results"),
    all_variants: AllVariants = False,
    sessions: Sessions = 5,
    rounds: Rounds = 20,
    plant: Plants = None,
    timeout: Timeout = None,
    file: BaselineFile = None,
    as_json: Json = False,
) -> int:
    """Store what steps take on this machine: from a stored run, or measured now."""
    from harness import baseline as baselines
    from harness import verdict

    plan = _timing_plan(locals())
    folder = record if record is not None else _carry_out(plan, results_dir)
    ((found, folder),) = _read([folder])
    judged = verdict.judge(found)
    if status := verdict.exit_status(found, judged):
        _warn(judged.summary)
        return status
    path = file if file is not None else baselines.default_path(found, results_dir)
    made = baselines.make(found, judged)
    baselines.write(made, path)
    told = {"baseline": str(path), "record": str(folder.resolve()), "labels": [*made.labels]}
    _print_document(told, as_json, f"{path}: {', '.join(made.labels)}")
    return 0


@baseline_app.command("check")
def baseline_check(
    records: MaybeRecords = None,
    backend: Backends = None,
    variant: Variants = None,
    device: Device = "cpu",
    threads: Threads = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    results_dir: ResultsDir = Path("results"),
    all_variants: AllVariants = False,
    sessions: Sessions = 5,
    rounds: Rounds = 20,
    plant: Plants = None,
    timeout: Timeout = None,
    file: BaselineFile = None,
    strict: Strict = False,
    as_json: Json = False,
) -> int:
    """Are steps slower than the baseline? Measures once, and again to confirm a suspicion.

    With stored runs (one, or two of the same plan) nothing is measured.
    """
    from harness import baseline as baselines
    from harness import verdict

    plan = _timing_plan(locals())
    if records is not None and len(records) > 2:
        raise InputError("baseline check: one stored run, or two: the second confirms the first")
    found = _read(records or [_carry_out(plan, results_dir)])
    path = file if file is not None else baselines.default_path(found[0][0], results_dir)
    stored = baselines.read(path)

    def compared() -> dict[str, baselines.Comparison]:
        return baselines.compare(stored, [record for record, _ in found])

    if not records and any(c.outcome == "slower" for c in compared().values()):
        _warn("slower than the baseline: measuring again to confirm it")
        found += _read([_carry_out(plan, results_dir)])
    result = compared()
    statuses = [verdict.exit_status(record, verdict.judge(record)) for record, _ in found]
    outcomes = {comparison.outcome for comparison in result.values()}
    if "regression" in outcomes or (strict and outcomes & {"slower", "inconclusive"}):
        statuses.append(1)
    document = {
        "baseline": str(path),
        "records": [str(folder.resolve()) for _, folder in found],
        "labels": baselines.as_document(result),
    }
    _print_document(document, as_json, baselines.as_text(result, stored, path))
    return max(statuses)


@app.command("list")
def list_(as_json: Json = False) -> int:
    """Backends, variants, devices and workloads, and what is missing here."""
    from harness import catalogue

    found = catalogue.describe()
    _print_document(found, as_json, catalogue.as_text(found))
    return 0


@app.command()
def doctor(
    backend: Backends = None,
    threads: Threads = None,
    results_dir: ResultsDir = Path("results"),
    quick: Quick = False,
    as_json: Json = False,
) -> int:
    """What would disturb a measurement here, and what to do about it."""
    from harness import doctor as examination
    from harness.plan import make_plan
    from harness.progress import make_progress
    from harness.signals import as_interrupt

    plan = make_plan(backends=tuple(backend or ()), threads=threads)
    lines = examination.examine_system(plan, results_dir)
    if not quick:
        from harness.neighbours import examine_workers

        with as_interrupt(), contextlib.closing(make_progress()) as progress:
            lines += examine_workers(plan, progress)
    found = examination.describe(lines)
    _print_document(found, as_json, examination.as_text(found))
    return 0


@app.command()
def scale(
    record: StoredScale = None,
    widths: Widths = None,
    batches: Batches = None,
    threads: ThreadCounts = None,
    backend: Backends = None,
    variant: Variants = None,
    all_variants: AllVariants = False,
    rounds: Rounds = None,
    sessions: Sessions = None,
    dataset: DatasetName = "auto",
    data_dir: DataDir = None,
    results_dir: ResultsDir = Path("results"),
    page: Page = None,
    as_json: Json = False,
) -> int:
    """How time per step grows with width and batch size, as multiples of the GEMM floor."""
    from harness import scale as grid
    from harness.checks.scale import exit_status, figures
    from harness.report import scale as pages

    if page is not None and (
        page.is_dir() or not os.access(page.absolute().parent, os.W_OK | os.X_OK)
    ):
        raise InputError(f"--page {page}: no file can be written there")
    if record is not None:
        if any((widths, batches, threads, backend, variant, all_variants, rounds, sessions)):
            raise InputError("scale RECORD shows a stored run: leave out what chooses a new one")
        found, folder = grid.read(record), record if record.is_dir() else record.parent
    else:
        from harness.progress import make_progress
        from harness.signals import as_interrupt

        plan = grid.make_scale_plan(
            widths=widths,
            batches=batches,
            threads=threads,
            backends=tuple(backend or ()),
            variants=_pairs("--variant", variant),
            all_variants=all_variants,
            rounds=rounds if rounds is not None else grid.ROUNDS,
            sessions=sessions if sessions is not None else 1,
            dataset=dataset,
            data_dir=str(data_dir) if data_dir is not None else None,
        )
        with as_interrupt(), contextlib.closing(make_progress()) as progress:
            found, folder = grid.run(plan, results_dir, progress)
    pages.write(found, folder, page)
    cells = figures(found)
    if as_json:
        document = pages.to_json(found, cells, str(folder.resolve()))
        _out(json.dumps(document, allow_nan=False) + "\n")
    else:
        from rich.console import Console

        console = Console()
        with console.capture() as captured:
            pages.show(found, cells, str(folder), console)
        _out(captured.get())
    return 0 if record is not None else exit_status(found, cells)


@app.command("data")
def data_(dataset: DatasetName = "auto", data_dir: DataDir = None, as_json: Json = False) -> int:
    """Find (or fetch) the data set, verify it, and describe it."""
    import msgspec

    from harness import data
    from harness.facts import describe_dataset

    facts = describe_dataset(data.load(dataset, data_dir, warn=_warn))
    found = msgspec.to_builtins(facts)
    _print_document(found, as_json, "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0


def _plan(words: dict[str, Any]) -> Plan:
    """The plan for the words of `compare` and `run`."""
    from harness.plan import make_plan, parse_expectation

    memory = words["memory_limit"]
    if memory is not None and memory < 1:
        raise InputError(f"--memory-limit {memory}: at least 1 MB")
    if words["timeout"] is not None and not 0 < words["timeout"] < float("inf"):
        raise InputError(f"--timeout {words['timeout']}: more than 0 seconds, and finite")
    return make_plan(
        profile=words["profile"],
        backends=tuple(words["backend"] or ()),
        variants=_pairs("--variant", words["variant"]),
        device=words["device"],
        dtype=words["dtype"],
        precision=words["precision"],
        seeds=words["seeds"],
        threads=words["threads"],
        dataset=words["dataset"],
        data_dir=str(words["data_dir"]) if words["data_dir"] is not None else None,
        **({"reference": words["reference"]} if words["reference"] is not None else {}),
        expect=tuple(parse_expectation(text) for text in words["expect"] or ()),
        operators=words["operators"],
        all_variants=words["all_variants"],
        sessions=words["sessions"],
        rounds=words["rounds"],
        plants=_pairs("--plant", words["plant"]),
        timeout_s=words["timeout"],
        memory_headroom=memory * 10**6 if memory is not None else None,
    )


def _timing_plan(words: dict[str, Any]) -> Plan:
    """A plan that is for its times: as little of the numbers as a verdict needs."""
    from harness.plan import make_plan

    return make_plan(
        profile="smoke",
        backends=tuple(words["backend"] or ()),
        variants=_pairs("--variant", words["variant"]),
        device=words["device"],
        threads=words["threads"],
        dataset=words["dataset"],
        data_dir=str(words["data_dir"]) if words["data_dir"] is not None else None,
        all_variants=words["all_variants"],
        sessions=words["sessions"],
        rounds=words["rounds"],
        plants=_pairs("--plant", words["plant"]),
        timeout_s=words["timeout"],
    )


def _pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """NAME=VALUE words as a dictionary."""
    pairs: dict[str, str] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in pairs:
            raise InputError(f"{option} {text!r}: expected NAME=VALUE, every name once")
        pairs[name] = value
    return pairs


def _carry_out(plan: Plan, results_dir: Path) -> Path:
    from harness import session
    from harness.progress import make_progress
    from harness.signals import as_interrupt

    with as_interrupt(), contextlib.closing(make_progress()) as progress:
        return session.run(plan, results_dir, progress)[1]


def _read(paths: list[Path]) -> list[tuple[Record, Path]]:
    from harness import record

    return [(record.read(path), path if path.is_dir() else path.parent) for path in paths]


def _check(
    records: list[tuple[Record, Path]],
    strict: bool,
    as_json: bool,
    *,
    report: bool,
    quiet: bool = False,
    limits: tuple[tuple[Limit, ...], str] | None = None,
    baseline: Path | None = None,
) -> int:
    """Judge, store and print each record; the worst exit status (0 with `quiet`)."""
    from harness import record as store
    from harness import verdict
    from harness.limits import LIMITS

    documents, statuses = [], []
    for record, folder in records:
        parts = _baseline_parts(baseline, record) if baseline is not None else None
        table, other = limits or (LIMITS, None)
        judged = verdict.judge(record, table, other, parts)
        document = verdict.to_json(record, judged, str(folder.resolve()))
        documents.append(document)
        statuses.append(verdict.exit_status(record, judged, strict=strict))
        if not as_json:
            from rich.console import Console

            from harness.report.terminal import print_verdict

            console = Console()
            with console.capture() as captured:
                print_verdict(record, judged, str(folder), console)
            _out(captured.get())
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        store.write_atomic(folder / "verdict.json", text.encode())
        if report:
            from harness.report import markdown, operators, roofline

            store.write_atomic(folder / "report.md", markdown.render(record, judged).encode())
            if any(results.operators for results in record.results.values()):
                store.write_atomic(folder / "operators.svg", operators.draw(record).encode())
            if drawn := roofline.draw(record, judged):
                store.write_atomic(folder / "roofline.svg", drawn.encode())
    if as_json:
        whole = documents[0] if len(documents) == 1 else documents
        _out(json.dumps(whole, allow_nan=False) + "\n")
    return 0 if quiet else max(statuses, default=0)


def _baseline(path: Path) -> Baseline:
    from harness import baseline

    return baseline.read(path)


def _baseline_parts(path: Path, record: Record) -> dict[str, Part]:
    """What the baseline says of each label of a record, as the fifth part of its timing."""
    from harness import baseline

    compared = baseline.compare(_baseline(path), [record])
    parts = {label: baseline.as_part(found) for label, found in compared.items()}
    return {label: part for label, part in parts.items() if part is not None}


def _print_document(document: Any, as_json: bool, text: str) -> None:
    _out((json.dumps(document) if as_json else text) + "\n")


def _out(text: str) -> None:
    """Text to stdout; a reader that went away changes no exit status, a full disk is told."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise HarnessError(f"cannot write to standard output: {error.strerror}") from None


def _warn(text: str) -> None:
    print(f"harness: {text}", file=sys.stderr)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Every error a user can cause ends in one line on stderr and its exit status."""
    try:
        yield
    except HarnessError as error:
        _warn(str(error))
        sys.exit(error.exit_status)
    except typer.TyperException as error:
        _warn(" ".join(error.format_message().split()))
        sys.exit(InputError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        _warn("interrupted")
        sys.exit(INTERRUPTED_STATUS)
    except Exception as error:
        # A mistake in the harness must not end with 1, which means that backends disagree.
        traceback.print_exc()
        _warn(f"a mistake in the harness itself: {type(error).__name__}: {error}")
        sys.exit(HarnessError.exit_status)


def main() -> None:
    """Entry point of the command `harness`."""
    with _one_line_errors():
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
