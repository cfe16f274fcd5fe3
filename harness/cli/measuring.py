"""Verbs that start workers and store what they measured: compare, run, baseline, scale."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.cli import options as opts
from harness.cli.output import at_work, check_page, locate, out, print_document, read, show, warn
from harness.cli.stored import judge_and_store
from harness.errors import InputError
from harness.files import check_place, nearest_folder, write_document

if TYPE_CHECKING:
    from harness.plan.model import Plan
    from harness.results import baseline as baselines

# What a plan for its times chooses: as little of the numbers as a verdict needs.
TIMING = (
    *("backend", "python", "variant", "all_variants", "device", "threads", "dataset", "data_dir"),
    *("sessions", "rounds", "plant", "timeout", "workload", "size", "rooms"),
)


@opts.choosing(says={"workload": opts.WORKLOADS})
def compare(
    words: opts.Words,
    results_dir: opts.ResultsDir = Path("results"),
    like: opts.AsRun = None,
    resume: opts.CutOff = None,
    baseline: opts.GivenBaseline = None,
    strict: opts.Strict = False,
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """Run the backends, store the record, check it, and print the verdict: the main job.

    With several workloads (--workload A,B or all-small) each is a run, and a table has them all.
    """
    from harness.cli import several
    from harness.results import baseline as baselines
    from harness.run import checkpoint

    if like is not None and resume is not None:
        raise InputError("--like and --resume: choose one")
    chosen = like is None and resume is None
    if chosen and (names := several.names(words["workload"])):
        if baseline is not None:
            raise InputError("--baseline: of one workload; leave it out with several")
        plans = [_plan(words | {"workload": name}) for name in names]
        return several.compare(plans, results_dir, strict, no_cache, as_json)
    left = None
    if like is not None:
        _check_left_out(f"--like {like}", words)
        ((found, _),) = read([like], results_dir)
        plan = found.plan
    elif resume is not None:
        _check_left_out(f"--resume {resume}", words)
        left = checkpoint.find(resume, results_dir)
        plan = checkpoint.read(left).identity.plan
    else:
        plan = _plan(words)
    # Refused now, not after the run.
    held = baselines.read(baseline) if baseline is not None else None
    if held is not None:
        baselines.check_plan(plan, held)
    folder = _carry_out(plan, results_dir, no_cache, left)
    if os.path.lexists(folder / checkpoint.FOLDER):
        warn(f"go on where it was with: harness compare --resume {folder}")
    records = read([folder], results_dir)
    return judge_and_store(records, strict, as_json, report=True, baseline=held)


@opts.choosing()
def run(
    words: dict[str, Any],
    results_dir: opts.ResultsDir = Path("results"),
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """Measure and store a record; judge nothing."""
    from harness.verdict.verdict import run_status

    ((record, folder),) = read([_carry_out(_plan(words), results_dir, no_cache)], results_dir)
    print_document({"record": str(folder), "ended": record.ended}, as_json, str(folder))
    return run_status(record)


@opts.choosing(*TIMING, sessions=5, rounds=20)
def baseline_save(
    words: dict[str, Any],
    record: opts.MaybeRecord = None,
    results_dir: opts.ResultsDir = Path("results"),
    file: opts.BaselineFile = None,
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """Store what steps take on this machine: from a stored run, or measured now."""
    from harness.results import baseline as baselines
    from harness.verdict import verdict

    plan = _plan(words, profile="smoke")
    if file is not None and os.path.lexists(file.parent):
        check_place(file, "--baseline")
    nearest_folder(file.parent if file else results_dir / "baselines", "baseline's folder")
    if record is None:
        baselines.check_plan(plan)
    ((stored, folder),) = read([record or _carry_out(plan, results_dir, no_cache)], results_dir)
    judged = verdict.judge(stored)
    if status := verdict.exit_status(stored, judged):
        warn(judged.summary)
        return status
    path = file if file is not None else baselines.default_path(stored, results_dir)
    made = baselines.make(stored, judged)
    write_document(path, made)
    document = {"baseline": str(path), "record": str(folder.resolve()), "labels": [*made.labels]}
    print_document(document, as_json, f"{path}: {', '.join(made.labels)}")
    return 0


@opts.choosing(*TIMING, sessions=5, rounds=20)
def baseline_check(
    words: dict[str, Any],
    records: opts.MaybeRecords = None,
    results_dir: opts.ResultsDir = Path("results"),
    file: opts.BaselineFile = None,
    strict: opts.Strict = False,
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """Are steps slower than the baseline? Measures once, and again to confirm a suspicion.

    With stored runs (one, or two of the same plan) nothing is measured.
    """
    from harness.results import baseline as baselines
    from harness.verdict import verdict

    plan = _plan(words, profile="smoke")
    if records is not None and len(records) > 2:
        raise InputError("baseline check: one stored run, or two: the second confirms the first")
    # What cannot be compared is refused now, not after minutes.
    runs = read(records or [], results_dir)
    known = baselines.default_path(runs[0][0], results_dir) if runs else None
    path = file or known or baselines.expected(plan, results_dir)
    stored = baselines.read(path)
    if not runs:
        baselines.check_plan(plan, stored)
        runs = read([_carry_out(plan, results_dir, no_cache)], results_dir)
        path = file or baselines.default_path(runs[0][0], results_dir)
        stored = baselines.read(path)

    def compared() -> dict[str, baselines.Comparison]:
        return baselines.compare(stored, [record for record, _ in runs])

    if not records and any(c.outcome == "slower" for c in compared().values()):
        warn("slower than the baseline: measuring again to confirm it")
        runs += read([_carry_out(plan, results_dir, no_cache)], results_dir)
    result = compared()
    statuses = [verdict.exit_status(record, verdict.judge(record)) for record, _ in runs]
    outcomes = {comparison.outcome for comparison in result.values()}
    if "regression" in outcomes or (strict and outcomes & {"slower", "inconclusive"}):
        statuses.append(1)
    document = {
        "baseline": str(path),
        "records": [str(folder.resolve()) for _, folder in runs],
        "labels": msgspec.to_builtins(result),
    }
    print_document(document, as_json, baselines.as_text(result, stored, path))
    return max(statuses)


@opts.choosing(
    *("backend", "python", "variant", "all_variants"),
    *("rounds", "sessions", "workload", "dataset", "data_dir"),
    says={"workload": "A name of `harness list` whose width can be chosen."},
)
def scale(
    words: opts.Words,
    record: opts.StoredScale = None,
    widths: opts.Widths = None,
    batches: opts.Batches = None,
    sides: opts.Sides = None,
    threads: opts.ThreadCounts = None,
    results_dir: opts.ResultsDir = Path("results"),
    page: opts.Page = None,
    no_cache: opts.NoCache = False,
    as_json: opts.Json = False,
) -> int:
    """How time per step grows with width and batch size, as multiples of the GEMM floor."""
    from harness.report import scale as pages
    from harness.results import scale as results
    from harness.run import memo
    from harness.run import scale as sizes

    if page is not None:
        check_page(page)
    if record is not None:
        if words.given or any((widths, batches, sides, threads)):
            raise InputError("scale RECORD shows a stored run: leave out what chooses a new one")
        folder = locate(record, results_dir / "scale", "runs")
    else:
        asked = widths, batches, threads, words["workload"], sides
        plans = sizes.make_plans(opts.choices(words), *asked)
        with at_work() as progress:
            kept = memo.of_user(wanted=not no_cache)
            folder = sizes.run(plans, results_dir, progress, kept)
    grid = results.read(folder)
    pages.write(grid, folder, page)
    if as_json:
        out(json.dumps(pages.to_json(grid, str(folder.resolve())), allow_nan=False) + "\n")
    else:
        show(pages.report(grid, [f"record: {folder}"], brief=True))
    return 0 if record is not None else grid.status


def _plan(words: dict[str, Any], **fixed: Any) -> Plan:
    """The plan for a verb's words."""
    from harness.plan.choices import read_size
    from harness.plan.make import make_plan
    from harness.workers import providers

    workload = providers.find(words.get("workload"), read_size(words.get("size")))
    return make_plan(opts.choices(words, **fixed), *workload)


def _check_left_out(option: str, words: opts.Words) -> None:
    """InputError where a word would choose anything, which a run that is there did."""
    for name, chosen in opts.CHOOSING.items():
        if name in words.given:
            given = chosen.form.split()[0]
            raise InputError(f"{option}: does just what that run did; leave out {given}")


def _carry_out(plan: Plan, results_dir: Path, no_cache: bool, left: Path | None = None) -> Path:
    from harness.run import memo, session

    with at_work(session.phases(plan)) as progress:
        kept = memo.of_user(wanted=not no_cache)
        return session.run(plan, results_dir, progress, kept, left)[1]
