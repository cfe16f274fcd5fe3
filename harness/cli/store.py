"""Verbs over all stored runs, which they read only: history, query; and prune, which removes."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from harness.cli.options import Json, Place, ResultsDir, Text, Texts, Whole, argument, option
from harness.cli.output import on_console, out, out_file, print_document, show, warn
from harness.errors import InputError

if TYPE_CHECKING:
    from harness.results.query import Answer

# Rows that a table on a terminal shows, unless --limit says otherwise.
SHOWN = 100
# A text in a table on a terminal is folded at this width, and cut at this length.
WIDEST, LONGEST = 60, 1000

Labels = Annotated[Texts, option("--backend NAME", "Only this backend or label (repeatable).")]
Machine = Annotated[str, option("--machine TEXT", "Only machines with this in their name.")]
Since = Annotated[
    Text, option("--since TIME", "Only runs since this date (2026-11-21) or age (30d).")
]
Last = Annotated[
    Whole, option("--last N", "Only the newest runs of each trend; a table shows 10.", min=1)
]
HistoryPage = Annotated[Place, option("--page FILE", "Also write a page with pictures.")]
Sql = Annotated[Text, argument("SQL", "One SELECT.")]
Schema = Annotated[bool, option("--schema", "What can be asked: tables and columns.")]
Csv = Annotated[bool, option("--csv", "CSV on stdout.")]
Limit = Annotated[Whole, option("--limit N", "Most rows; a table shows 100.", min=1)]

Keep = Annotated[
    Whole, option("--keep N", "All but the newest N of each machine and profile.", min=1)
]
OlderThan = Annotated[
    Text, option("--older-than AGE", "Runs older than 36h, 90d or 12w; with --keep of those only.")
]
Debris = Annotated[bool, option("--debris", "What killed runs left, after a day.")]
Force = Annotated[bool, option("--force", "Also what a baseline rests on.")]
Yes = Annotated[bool, option("--yes", "Remove it; without this nothing is removed.")]


def history(
    backend: Labels = None,
    machine: Machine = "",
    since: Since = None,
    last: Last = None,
    page: HistoryPage = None,
    results_dir: ResultsDir = Path("results"),
    as_json: Json = False,
) -> int:
    """How each backend's speed, agreement and accuracy went over the stored runs, by machine."""
    from harness.files import write_atomic
    from harness.report import history as report
    from harness.report import page as pages
    from harness.results import history as trends
    from harness.results import store

    start = _since(since) if since is not None else None
    stored = store.find(results_dir)
    for note in stored.notes():
        warn(note)
    traced = trends.trace(stored, labels=tuple(backend or ()), machine=machine, since=start)
    if page is not None:
        shown = report.report(traced, "page", left_out=stored.notes())
        write_atomic(page, pages.render(shown).encode())
    if as_json:
        print_document(trends.as_document(traced, last), as_json, "")
        return 0
    show(report.report(traced, "terminal", last or report.LAST_PRINTED))
    return 0


def _since(text: str) -> datetime:
    """A date, a time, or an age before now."""
    from harness.results import store

    if (moment := store.moment(text)) is not None:
        return moment
    try:
        return datetime.now(UTC) - store.age("--since", text)
    except InputError as error:
        raise InputError(f"{error}; or a date, as 2026-11-21") from None


def query(
    sql: Sql = None,
    schema: Schema = False,
    as_csv: Csv = False,
    limit: Limit = None,
    results_dir: ResultsDir = Path("results"),
    as_json: Json = False,
) -> int:
    """Ask the stored runs in SQL (DuckDB): tables runs, labels, rungs, versions, training, steps.

    Reads only. In JSON and CSV every row is given, unless --limit says otherwise; in JSON NaN and
    infinities are the texts "nan", "inf" and "-inf", and bytes are in hexadecimal.
    """
    from harness.results import query as asking
    from harness.results import store

    if schema:
        print_document(asking.schema(), as_json, asking.schema_text())
        return 0
    if sql is None:
        raise InputError('query: give one SELECT, as in: harness query "SELECT * FROM runs"')
    if as_csv and as_json:
        raise InputError("query: --csv and --json: choose one")
    answer = asking.ask(store.find(results_dir), sql)
    for note in answer.notes:
        warn(note)
    if as_json:
        twice = [name for name, times in Counter(answer.columns).items() if times > 1]
        if twice:
            raise InputError(
                f"query --json: two columns are called {twice[0]!r}: name them with AS"
            )
        _print_long(_json_lines(answer, limit))
    elif as_csv:
        _print_long(_csv_lines(answer, limit))
    else:
        _print_table(answer, limit or SHOWN)
    return 0


def _print_long(lines: Iterator[str]) -> None:
    """Text that may be long, some at a time, while somebody reads it."""
    while some := "".join(islice(lines, 1000)):
        if not out_file(some):
            return


def _json_lines(answer: Answer, limit: int | None) -> Iterator[str]:
    before = "["
    for row in islice(answer.rows, limit):
        document = dict(zip(answer.columns, map(_plain, row), strict=True))
        yield before + json.dumps(document, allow_nan=False)
        before = ",\n "
    yield f"{before if before == '[' else ''}]\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value)


def _text(value: Any) -> str:
    """A value as text: NULL is nothing."""
    plain = _plain(value)
    if plain is None:
        return ""
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _csv_lines(answer: Answer, limit: int | None) -> Iterator[str]:
    from harness.text import clean

    # On a terminal a record's texts cannot steer it; in a file they stay as they are.
    shown = clean if sys.stdout.isatty() else str
    for row in chain([answer.columns], islice(answer.rows, limit)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(shown(_text(value)) for value in row)
        yield line.getvalue()


def _print_table(answer: Answer, limit: int) -> None:
    from harness.report.terminal import print_table
    from harness.text import clean

    def shown(text: str) -> str:
        return clean(text[:LONGEST] + (" …" if len(text) > LONGEST else ""))

    header = [shown(name) for name in answer.columns]
    rows = [[shown(_text(value)) for value in row] for row in islice(answer.rows, limit + 1)]
    more = len(rows) > limit
    columns = zip(header, *rows[:limit], strict=True)
    needed = sum(1 + min(WIDEST, max(map(len, column))) for column in columns)
    with on_console() as console:
        # Wider than the terminal rather than a letter to the line.
        console.width = max(console.width, needed)
        print_table(console, header, rows[:limit], "")
    if not rows:
        out("no rows\n")
    if more:
        warn(f"the first {limit} rows; more with --limit, all with --csv or --json")


def prune(
    keep: Keep = None,
    older_than: OlderThan = None,
    debris: Debris = False,
    force: Force = False,
    yes: Yes = False,
    results_dir: ResultsDir = Path("results"),
    as_json: Json = False,
) -> int:
    """Remove stored runs, or what killed runs left; without --yes only say what would go."""
    from harness.results import prune as pruning
    from harness.results import store

    age = store.age("--older-than", older_than) if older_than is not None else None
    chosen = pruning.choose(results_dir, keep=keep, older_than=age, debris=debris, force=force)
    failed = pruning.carry_out(chosen) if yes else []
    document = pruning.as_document(chosen, removed=yes)
    print_document(document, as_json, pruning.as_text(chosen, removed=yes))
    if failed:
        raise InputError(f"prune: not removed: {'; '.join(failed)}")
    return 0
