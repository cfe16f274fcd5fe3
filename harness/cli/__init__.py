"""The command line: the table of verbs. They hold no logic, and import inside what is heavy."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from harness import __version__
from harness.cli import about, certifying, extending, golden, measuring, same, store, stored, sweep
from harness.cli.help import Grouped, explained
from harness.cli.output import guard_streams, out, warn
from harness.errors import HarnessError, InputError
from harness.files import why

INTERRUPTED_STATUS = 130

app = typer.Typer(
    name="harness",
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

golden_app = typer.Typer(
    help="A float64 training, stored, that a backend alone is held to later.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(golden_app, name="golden")


VERBS: dict[typer.Typer, dict[str, Callable[..., int]]] = {
    app: {
        "compare": measuring.compare,
        "run": measuring.run,
        "check": stored.check,
        "report": stored.report,
        "explain": stored.explain,
        "bundle": stored.bundle,
        "export": stored.export,
        "diff": stored.diff,
        "history": store.history,
        "query": store.query,
        "prune": store.prune,
        "scale": measuring.scale,
        "sweep": sweep.sweep,
        "same": same.same_,
        "certify": certifying.certify,
        "list": about.list_,
        "doctor": about.doctor,
        "data": about.data_,
        "new-backend": extending.new_backend,
    },
    baseline_app: {"save": measuring.baseline_save, "check": measuring.baseline_check},
    golden_app: {"write": golden.golden_write, "check": golden.golden_check},
}
for group, verbs in VERBS.items():
    for name, verb in verbs.items():
        group.command(name, cls=Grouped)(verb)


def _tell_version(asked: bool) -> None:
    if asked:
        out(f"harness {__version__}\n")
        raise typer.Exit


@app.callback()
def _harness(
    version: Annotated[
        bool,
        typer.Option("--version", help="Only tell the version.", callback=_tell_version),
    ] = False,
) -> None:
    """Does the same model compute the same, learn the same and run as fast in each framework?"""


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Every error a user can cause ends in one line on stderr and its exit status."""
    try:
        yield
    except HarnessError as error:
        warn(str(error))
        sys.exit(error.exit_status)
    except typer.TyperException as error:
        warn(explained(error))
        sys.exit(InputError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        warn("interrupted")
        sys.exit(INTERRUPTED_STATUS)
    except Exception as error:
        # A mistake in the harness must not end with 1, which means that backends disagree.
        traceback.print_exc()
        warn(f"a mistake in the harness itself: {type(error).__name__}: {error}")
        sys.exit(HarnessError.exit_status)


def main() -> None:
    """Entry point of the command `harness`."""
    guard_streams()
    with _one_line_errors():
        try:
            os.getcwd()
        except OSError as error:
            raise InputError(f"the working folder: {why(error)}; go to one that is there") from None
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
