"""The verb same: do two functions compute the same?"""

from __future__ import annotations

from typing import Annotated

from harness.cli.options import Json, Place, Text, Texts, argument, option
from harness.cli.output import at_work, check_page, print_document, show
from harness.files import write_atomic

FUNCTION = "FILE.py:FUNCTION or MODULE:FUNCTION"
Sides = Annotated[
    list[str],
    argument(
        "NAME=FILE.py:FUNCTION...",
        f"Two, each {FUNCTION}; a NAME numpy, torch, jax or tensorflow (or torch@mine …) is given "
        "that framework's arrays, any other NumPy's.",
    ),
]
Args = Annotated[
    Text, option("--args FILE", f"Their arguments: a .npz, or {FUNCTION} that makes them.")
]
Like = Annotated[
    Texts,
    option(
        "--like [NAME=]DTYPE[SHAPE]",
        "An argument to draw, as x=float32[8,64] or y=int64[8]<10 (repeatable).",
    ),
]
Truth = Annotated[
    Text, option("--truth FILE.py:FUNCTION", "What is true: of NumPy arrays, in float64.")
]
Pythons = Annotated[
    Texts,
    option("--python NAME=PATH", "The interpreter of one (repeatable); or harness.toml."),
]
Timeout = Annotated[float, option("--timeout SECONDS", "Most time for one call.")]
PageOf = Annotated[Place, option("--page FILE", "Also write it here: .html, or .md.")]


def same_(
    sides: Sides,
    args: Args = None,
    like: Like = None,
    truth: Truth = None,
    python: Pythons = None,
    timeout: Timeout = 60.0,
    page: PageOf = None,
    as_json: Json = False,
) -> int:
    """Do two functions compute the same? The same, rounding, precision, or where they differ."""
    import msgspec

    from harness.pair.arguments import LIKE
    from harness.pair.document import exit_status
    from harness.pair.same import compared
    from harness.plan.choices import pairs
    from harness.report import markdown, same
    from harness.report import page as pages

    if page is not None:
        check_page(page)
    # Words behind the first of --like stand among the sides.
    more = [word for word in sides if like and LIKE.fullmatch(word)]
    named = pairs("same", [word for word in sides if word not in more])
    with at_work() as progress:
        found = compared(
            named,
            args=args,
            like=[*(like or []), *more],
            truth=truth,
            timeout=timeout,
            python=pairs("--python", python),
            progress=progress,
        )
    report = same.report(found)
    if page is not None:
        render = pages.render if page.suffix == ".html" else markdown.render
        write_atomic(page, render(report).encode())
    if as_json:
        print_document(msgspec.to_builtins(found), True, "")
    else:
        show(report)
    return exit_status(found)
