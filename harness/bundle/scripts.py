"""The scripts of a bundle: one template for every kind of divergence, filled for each framework.

What comes from a record enters a script as a literal only, never as code or as a comment.
"""

from __future__ import annotations

import keyword
import os
import re
from dataclasses import dataclass
from string import Template
from typing import NamedTuple

from backends import BACKENDS
from harness.plan.model import DEVICES, Label
from harness.plan.plugins import LABEL
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

WHOLE = Template('''"""$what, in $name, without the harness. README.md says more.

Exit status: 1 where the difference is there, 0 where it is not, 125 where it cannot be told.
"""

import os
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))
# As in the worker's process: it decides how the libraries compute.
os.environ.update($environment)


def reproduce():
    from harness.measure.distance import $formulas
    from reproduction import $helpers
$imports
    bundle = read(HERE)
    $backend
$plant    trainer = backend.trainer(bundle.workload)
    trainer.set_params(bundle.params)
$body
    return show(bundle, $literal, difference)


if __name__ == "__main__":
    try:
        if hasattr(os, "sched_setaffinity"):  # XLA has as many threads as there are processors
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:$threads])
        status = reproduce()
    except Exception:
        traceback.print_exc()
        status = 125  # what `git bisect run` takes for: cannot be tested
    sys.exit(status)
''')

# How a script comes by its backend: of this project, or a plug-in's by its place.
BUILT_IN = Template("    from $module import Backend\n")
PLUG_IN = Template("\n    Backend = load_class($place, $class_)\n")
PLANT = Template("""    # The fault that was planted in this framework on purpose.
    sys.path.append(str(HERE / "code" / "plant"))
    from runpy import run_path

    plant = run_path(str(HERE / "code" / "plant" / $file))[$function]
    backend = plant(backend) or backend
""")
NO_PLANT = "    # A fault was planted here on purpose; its file was not there to be copied.\n"


class Kind(NamedTuple):
    """What a kind of divergence (a rung, or a part of one) is reproduced by.

    `what`: what the script shows; `formulas`: of measure/distance.py; `lines`: to what the
    framework gives, `got`; `compared`: the formula on that and on what is wanted.
    """

    what: str
    formulas: str
    lines: tuple[str, ...]
    got: str
    compared: str = "compare(got, bundle.want[$key], $dtype)"


_PUT = 'batch = trainer.put(bundle.given["x"], bundle.given["y"])'
KINDS = {
    "inputs": Kind(
        "What the device holds of given parameters and a batch",
        "compare_bits",
        (_PUT, "x, y = trainer.fetch(batch)"),
        '(trainer.get_params() | {"x": x, "y": y}).get($tensor)',
        "compare_bits(got, bundle.want[$key])",
    ),
    "forward": Kind(
        "The logits of one batch at given parameters", "compare", (_PUT,), "trainer.logits(batch)"
    ),
    "centred": Kind(
        "The logits of one batch at given parameters, less their row's mean",
        "centred, compare",
        (_PUT,),
        "trainer.logits(batch)",
        "compare(got, bundle.want[$key], $dtype, centred)",
    ),
    "loss": Kind(
        "The mean loss of one batch at given parameters",
        "compare",
        (_PUT,),
        "float(trainer.loss_and_grads(batch)[0])",
        'compare(got, bundle.want[$key], "float64")',
    ),
    "step loss": Kind(
        "The mean loss that a step returns, one batch at given parameters",
        "compare",
        (_PUT,),
        "float(trainer.wait(trainer.step(batch)))",
        'compare(got, bundle.want[$key], "float64")',
    ),
    "gradients": Kind(
        "A gradient of one batch at given parameters",
        "compare",
        (_PUT,),
        "trainer.loss_and_grads(batch)[1].get($tensor)",
    ),
    "update": Kind(
        "One step from given parameters on one batch",
        "compare, excess_update",
        (
            _PUT,
            "trainer.wait(trainer.step(batch))",
            "change = bundle.workload.lr * bundle.want[$gradient]",
            "excess = excess_update(bundle.params[$tensor], change)",
        ),
        "trainer.get_params().get($tensor)",
        "compare(got, bundle.want[$key], $dtype, excess)",
    ),
    "lockstep": Kind(
        "Parameters after some steps of free training in float64",
        "compare",
        ("for x, y in bundle.batches():", "    trainer.wait(trainer.step(trainer.put(x, y)))"),
        "trainer.get_params().get($tensor)",
    ),
    "losses": Kind(
        "Losses of the steps of free training in float64",
        "compare",
        (
            "batches = bundle.batches()",
            "losses = [trainer.wait(trainer.step(trainer.put(x, y))) for x, y in batches]",
        ),
        'losses[bundle.stated["first_loss"] :]',
    ),
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


def body(kind: str, tensor: str, key: str, dtype: str) -> str:
    """The lines from the batch to the difference; key: the tensor's name in want.safetensors."""
    shown = KINDS[kind]
    lines = (*shown.lines, f"got = {shown.got}", f"difference = {shown.compared}")
    return Template("\n".join(f"    {line}" for line in lines)).substitute(
        tensor=_text(tensor), key=_text(key), gradient=_text(f"grad.{tensor}"), dtype=_text(dtype)
    )


def plant(fault: str | None, copied: str | None) -> str:
    """The lines that plant a fault (FILE:FUNCTION) whose file was copied; none without one."""
    if fault is None:
        return ""
    if copied is None:
        return NO_PLANT
    function = fault.rpartition(":")[2]
    return PLANT.substitute(file=_text(os.path.basename(copied)), function=_text(function))


def script(
    name: str,
    source: Source,
    extra: dict[str, str],
    kind: str,
    how: tuple[str, str, int, str, str],
    plant: str,
    body: str,
) -> str:
    """The source of one framework's script.

    name and extra are those of the table of backends (or checked, see `title`), kind one of KINDS;
    all else may come from anywhere. how: device, dtype, threads, variant, precision; plant, body:
    see the functions of these names.
    """
    device, dtype, threads, variant, precision = how
    if source.plug_in:
        imports = PLUG_IN.substitute(place=_text(source.place), class_=_text(source.name))
    else:
        imports = BUILT_IN.substitute(module=source.place)
    return WHOLE.substitute(
        what=KINDS[kind].what,
        name=name,
        literal=_text(name),
        formulas=KINDS[kind].formulas,
        helpers="load_class, read, show" if source.plug_in else "read, show",
        imports=imports,
        environment=_table(_telling(threads, extra, precision)),
        backend=f"backend = Backend({_text(device)}, {_text(dtype)}, {int(threads)}, "
        f"{_text(variant)}, {_text(precision)})",
        plant=plant,
        body=body,
        threads=int(threads),
    )


def _telling(threads: int, extra: dict[str, str], precision: str) -> dict[str, str]:
    whole = environment(threads, extra, precision)
    return {name: whole[name] for name in sorted({*TELLING, *extra}) if name in whole}


def _table(table: dict[str, str]) -> str:
    """A dictionary as source, a line an entry."""
    return "{\n" + "".join(f"    {_text(k)}: {_text(v)},\n" for k, v in table.items()) + "}"


def _text(text: str) -> str:
    """A string as source; whatever is in it stays in it."""
    return f'"{text}"' if HARMLESS.fullmatch(text) else ascii(text)
