"""The command line: the table of verbs. They hold no logic, and import inside what is heavy."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator

import typer

from harness.cli import about, certifying, extending, golden, measuring, store, stored
from harness.cli.output import warn
from harness.errors import HarnessError, InputError
from harness.files import why

INTERRUPTED_STATUS = 130

app = typer.Typer(
    name="harness",
    help="Does the same model compute the same, learn the same and run as fast in each framework?",
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


app.command()(measuring.compare)
app.command()(measuring.run)
app.command()(stored.check)
app.command()(stored.report)
app.command()(stored.bundle)
app.command()(stored.export)
app.command()(stored.diff)
app.command()(store.history)
app.command()(store.query)
app.command()(store.prune)
app.command()(measuring.scale)
app.command()(certifying.certify)
app.command("list")(about.list_)
app.command()(about.doctor)
app.command("data")(about.data_)
app.command("new-backend")(extending.new_backend)
baseline_app.command("save")(measuring.baseline_save)
baseline_app.command("check")(measuring.baseline_check)
golden_app.command("write")(golden.golden_write)
golden_app.command("check")(golden.golden_check)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Every error a user can cause ends in one line on stderr and its exit status."""
    try:
        yield
    except HarnessError as error:
        warn(str(error))
        sys.exit(error.exit_status)
    except typer.TyperException as error:
        warn(" ".join(error.format_message().split()))
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
    with _one_line_errors():
        try:
            os.getcwd()
        except OSError as error:
            raise InputError(f"the working folder: {why(error)}; go to one that is there") from None
        status = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
