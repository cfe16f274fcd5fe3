"""The table as a page: `python -m harness.explain.page > docs/conventions.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable

from harness.explain import functions
from harness.explain.hypothesis import Hypothesis
from harness.explain.table import TABLE

HEAD = """\
# Conventions that differ between frameworks

Where a rung fails, the judge computes it again under each of these, at the same state and batch.
One that gives what the process gave, to the limit of correct code, is named as its explanation,
with its number where it has one (…); one that only comes nearer is not
([reading.md](reading.md#first-divergence)). `harness explain` prints what was found. The last are
what `harness same` asks of two functions ([same.md](same.md)).

*Default*: who does so unless told otherwise, and since when; *where*: the place that documents or
reports it. Both are empty where nobody is known to. Read in the sources of torch 2.13, JAX 0.10,
Optax 0.2.8, Flax 0.12, Keras 3.15 and TensorFlow 2.21.

<!-- Made from harness/explain/: python -m harness.explain.page > docs/conventions.md -->
"""
COLUMNS = ("convention", "the judge", "the other", "default", "where")


def render(table: Iterable[Hypothesis] = (*TABLE, *functions.TABLE)) -> str:
    """The page in Markdown: a heading for the rungs at which a convention shows, a row for each."""
    groups: dict[tuple[str, ...], list[Hypothesis]] = {}
    for one in table:
        groups.setdefault(one.rungs, []).append(one)
    parts = [HEAD]
    for rungs, own in groups.items():
        rows = [f"| {' | '.join(row)} |\n" for row in (COLUMNS, ["---"] * 5, *map(_row, own))]
        parts.append(f"\n## {', '.join(rungs).capitalize()}\n\n{''.join(rows)}")
    return "".join(parts)


def _row(one: Hypothesis) -> list[str]:
    sentence = one.sentence.format("…", "…", of="", other="the other").strip()
    texts = (one.here, one.there, one.by, one.where)
    return [f"`{one.id}`<br>{_escaped(sentence)}", *map(_escaped, texts)]


def _escaped(text: str) -> str:
    """As Markdown shows it as it stands; an address is a link."""
    return re.sub(
        r"https://[^\s;,]*[^\s;,:]|[\\`*_\[\]|#~<>]",
        lambda found: f"<{found[0]}>" if found[0].startswith("https") else f"\\{found[0]}",
        text,
    )


if __name__ == "__main__":
    sys.stdout.write(render())
