"""The scripts of a bundle: one template for every kind of divergence, filled for each framework.

What comes from a record enters a script as a literal only, never as code or as a comment.
"""

from __future__ import annotations

import functools
import keyword
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from backends import BACKENDS
from backends.rooms import place
from harness.plan.model import DEVICES, Label, Plan
from harness.plan.plugins import LABEL
from harness.report.tables import escape
from harness.workers.launch import environment

# Of a worker's environment, what decides how a library computes (see `launch.environment`).
TELLING = (
    "MKL_NUM_THREADS",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_NUM_THREADS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "OPENBLAS_NUM_THREADS",
)

# Between double quotes, these stand for themselves.
HARMLESS = re.compile(r"[A-Za-z0-9_ .:/-]*", re.ASCII)


class Kind(NamedTuple):
    """A kind of divergence (a rung, or a part of one).

    `what`: what the script shows; `distance`: how far apart, in words; `formulas`: of
    measure/distance.py. The lines that compute it are those of its name in the template.
    """

    what: str
    distance: str = "||got − expected|| / ||expected||, in float64"
    formulas: str = "compare"


_OF_A_LOSS = "|got − expected| / |expected|, in float64"
KINDS = {
    "inputs": Kind(
        "What the device holds of a given state and a batch",
        "the number of elements whose bits differ",
        "compare_bits",
    ),
    "forward": Kind("The outputs of one batch at a given state"),
    "training": Kind("The outputs of one batch at a given state, as a step computes them"),
    "centred": Kind(
        "The outputs of one batch at a given state, less their row's mean",
        "||got − expected|| / ||expected|| of outputs less their row's mean, in float64",
        "centred, compare",
    ),
    "trace": Kind(
        "A value inside the model, one batch at a given state",
        "||got − expected|| / ||expected||, in float64; expected is what the reference makes of "
        "the value before it, as the label had that in the run",
    ),
    "loss": Kind("The loss of one batch at a given state", _OF_A_LOSS),
    "step loss": Kind("The loss that a step returns, one batch at a given state", _OF_A_LOSS),
    "gradients": Kind("A gradient of one batch at a given state"),
    "slot": Kind("What one step leaves beside what is trained, from a given state on one batch"),
    "update": Kind(
        "One step from a given state on one batch",
        "excess update error: ||max(0, |change got − change expected| − half the spacing of "
        "the stored parameter)|| / ||change expected||, in float64",
        "compare, excess_update",
    ),
    "lockstep": Kind("The state after some steps of free training in float64"),
    "losses": Kind("Losses of the steps of free training in float64"),
}


@dataclass(frozen=True)
class Source:
    """Where a script's backend is: a module (of this project where it is no plug-in) or a file.

    `place`: the module's dotted name, or the name of a file in code/plug_in; `name`: the class.
    `file`: where that file was in the run, None for a module.
    """

    place: str
    name: str = "Backend"
    plug_in: bool = False
    file: str | None = None


def source_of(label: Label) -> Source | None:
    """Where a label's backend is; None where no script can tell: a record may say anything."""
    if is_built_in(label):
        return built_in(label.backend)
    place, _, name = label.source.rpartition(":")
    if not _named(name) or label.device not in DEVICES:
        return None
    if os.path.isabs(place) and place.endswith(".py") and "\0" not in place:
        return Source(os.path.basename(place), name, plug_in=True, file=place)
    if not place.endswith(".py") and all(map(_named, place.split("."))):
        return Source(place, name, plug_in=True)
    return None


def built_in(name: str) -> Source:
    """Where a backend of this project is."""
    return Source(BACKENDS[name].source.partition(":")[0])


def have_model(plan: Plan) -> list[str]:
    """The backends of this project that have a plan's model in their rooms."""
    return [name for name in BACKENDS if place(name, plan.workload.model, plan.rooms) is not None]


def is_built_in(label: Label) -> bool:
    """Whether a label's backend is this project's (it is where no source is told)."""
    entry = BACKENDS.get(label.backend)
    return entry is not None and label.source in ("", entry.source)


def _named(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)


def title(label: str, configured: Label) -> str:
    """What stands for a label's backend in a script, and in its file's name: a plain word."""
    if is_built_in(configured):
        return configured.backend
    plain = label if LABEL.fullmatch(label) else "plug-in"
    return f"{plain}-plug-in" if plain in BACKENDS else plain


def file_name(label: str, configured: Label) -> str:
    """The file of a label's script."""
    return f"reproduce_{title(label, configured)}.py"


def script(
    name: str, source: Source, extra: dict[str, str], how: tuple[str, str, int, str, str], **of: Any
) -> str:
    """The source of one framework's script.

    name and extra are those of the table of backends (or checked, see `title`); all else may come
    from anywhere. how: device, dtype, threads, variant, precision. of: the `kind` (of KINDS), the
    `tensor`, its name in want.safetensors (`wanted`) and what that is compared as (`dtype`);
    whether there are a user's own `rooms`; a fault (`plant`, FILE:FUNCTION) and the file that was
    copied of it (`planted`), or None.
    """
    _, _, threads, _, precision = how
    whole = environment(threads, extra, precision)
    telling = {name: whole[name] for name in sorted({*TELLING, *extra}) if name in whole}
    kind = KINDS[of["kind"]]
    return render(
        "reproduce.py.j2",
        name=name,
        source=source,
        environment=telling,
        how=how,
        threads=int(threads),
        what=kind.what,
        formulas=kind.formulas,
        **of,
    )


def render(template: str, **values: Any) -> str:
    """A template of this package, filled."""
    return str(_templates().get_template(template).render(values))


@functools.cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(  # noqa: S701 - no HTML: literals and Markdown have their own filters
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "text": _text,
        "md": lambda value: escape("none" if value is None else str(value)),
        "basename": os.path.basename,
        "function": lambda plant: plant.rpartition(":")[2],
        "inside": lambda wanted: wanted.removeprefix("trace."),
    }
    return made


def _text(value: str | int) -> str:
    """A string or a number as source; whatever is in it stays in it."""
    if isinstance(value, int):
        return str(int(value))
    return f'"{value}"' if HARMLESS.fullmatch(value) else ascii(value)
