"""Where a backend or a workload comes from: a table, an entry point, a module, a file.

Nothing of a plug-in is imported here: a backend is described by its name and its place, and loaded
in its worker only.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from importlib.metadata import entry_points

from backends import BACKENDS, STILL_BLAS, Entry
from harness.errors import InputError
from harness.files import is_python
from harness.plan import interpreters
from harness.plan.interpreters import EntryPoint
from harness.workloads import WORKLOADS

GROUP = "harness.backends"
WORKLOAD_GROUP = "harness.workloads"
OPERATOR_GROUP = "harness.operators"
# A label stands in tables, in file names and before ":" and "=".
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
CLASS = "Backend"


def named(group: str, python: str = "") -> dict[str, Entry]:
    """What installed packages bring under a name, by name, in order.

    python: the interpreter whose packages count ("": the harness's own). A name that two packages
    claim is left out, since it names neither.
    """
    points = sorted(_entry_points(python, group), key=lambda point: point.name)
    claims = Counter(point.name for point in points)
    return {
        point.name: _from_entry_point(point)
        for point in points
        if claims[point.name] == 1 and LABEL.fullmatch(point.name)
    }


def known(python: str = "") -> dict[str, Entry]:
    """Every backend with a name: the built-in ones, whatever packages are called, then those."""
    return dict(BACKENDS) | {n: e for n, e in named(GROUP, python).items() if n not in BACKENDS}


def _entry_points(python: str, group: str) -> list[EntryPoint]:
    if not interpreters.is_own(python):
        points = interpreters.examine(python, group=group).entry_points
    else:
        points = [
            EntryPoint(p.name, p.value, *((p.dist.name, p.dist.version) if p.dist else ("", "")))
            for p in entry_points(group=group)
        ]
    return [*dict.fromkeys(points)]  # a package found twice on the path is one


def _from_entry_point(point: EntryPoint) -> Entry:
    module, _, name = point.value.partition("[")[0].replace(" ", "").partition(":")
    return _plug_in(
        point.name,
        f"{module}:{name or CLASS}",
        f"entry point of {point.distribution} {point.version}".rstrip(),
        package=(module.partition(".")[0],),
        distributions=(point.distribution,) if point.distribution else (),
    )


def _plug_in(
    name: str,
    source: str,
    origin: str,
    package: tuple[str, ...] = (),
    distributions: tuple[str, ...] = (),
) -> Entry:
    return Entry(
        name=name,
        source=source,
        extra="",
        package=package,
        distributions=distributions,
        variants=("default",),
        environment=STILL_BLAS,
        origin=origin,
    )


def find(spec: str, python: str = "", option: str = "--backend") -> Entry:
    """The backend that `spec` names; InputError, in one line, where it names none.

    spec: a built-in's name, an entry point's, MODULE:CLASS, or FILE.py:CLASS (the class may be
    left out of a file: `Backend`). python: the interpreter it is to run under; option: what the
    error names.
    """
    if spec in BACKENDS:
        return BACKENDS[spec]
    if (placed := _place(option, spec, CLASS)) is not None:
        return placed
    return _by_name(option, spec, known(python), GROUP, python)


def find_workload(spec: str) -> tuple[str, str]:
    """Where a plug-in workload lies, and how it was found; InputError where there is none.

    spec: the name of an entry point of WORKLOAD_GROUP, MODULE:NAME, or FILE.py:NAME.
    """
    option, entries = "--workload", named(WORKLOAD_GROUP)
    entry = _place(option, spec, "") or _by_name(option, spec, entries, WORKLOAD_GROUP)
    return entry.source, entry.origin


def find_function(option: str, spec: str) -> str:
    """Where FILE.py:FUNCTION or MODULE:FUNCTION lies; InputError where it names nothing.

    option: what the error names.
    """
    if (placed := _place(option, spec, "")) is None:
        raise InputError(f"{option} {spec!r}: expected FILE.py:FUNCTION or MODULE:FUNCTION")
    return placed.source


def _by_name(
    option: str, spec: str, entries: dict[str, Entry], group: str, python: str = ""
) -> Entry:
    if spec in entries:
        return entries[spec]
    if [point.name for point in _entry_points(python, group)].count(spec) > 1:
        raise InputError(f"{option} {spec!r}: two packages have this name; give MODULE:NAME")
    names = [*entries] if group == GROUP else sorted({*WORKLOADS, *entries})
    raise InputError(
        f"{option} {spec!r}: unknown; give MODULE:NAME or FILE.py:NAME, "
        f"or choose from {', '.join(names)}"
    )


def _place(option: str, spec: str, default: str) -> Entry | None:
    """What MODULE:NAME or FILE.py:NAME names; None where `spec` is neither."""
    place, colon, name = spec.rpartition(":")
    if not colon or os.sep in name or name.endswith(".py"):
        place, name = spec, default
    if place.endswith(".py") or os.sep in place:
        if not is_python(place):
            raise InputError(f"{option} {spec!r}: there is no Python file {place}")
        if not name.isidentifier():
            raise InputError(f"{option} {spec!r}: {name!r} names nothing in it; give FILE.py:NAME")
        stem = os.path.splitext(os.path.basename(place))[0]
        if stem == "__init__":
            stem = os.path.basename(os.path.dirname(os.path.abspath(place)))
        return _plug_in(stem, f"{os.path.abspath(place)}:{name}", "file")
    if colon and DOTTED.fullmatch(place) and name.isidentifier():
        package = (place.partition(".")[0],)
        return _plug_in(place.rpartition(".")[2], f"{place}:{name}", "module", package)
    return None


def split(text: str) -> tuple[str, str]:
    """A label ("" where none is given) and what it names, of [LABEL=]SPEC."""
    label, equals, spec = text.partition("=")
    if equals and LABEL.fullmatch(label):
        return label, spec
    return "", text


def missing(entry: Entry, device: str = "cpu", python: str = "") -> str | None:
    """Why a backend cannot run here, with the command that mends it; None where it can.

    Looks for packages and device files only: no framework is imported. InputError where `python`
    is no interpreter that a worker can run under.
    """
    if interpreters.is_own(python):
        from importlib.util import find_spec

        absent = [package for package in entry.package if find_spec(package) is None]
        mend = f"python -m pip install 'framework-harness[{entry.extra}]'" if entry.extra else ""
    else:
        absent = interpreters.examine(python, entry.package).absent
        mend = "" if entry.plug_in else f"{python} -m pip install {' '.join(absent)}"
    if absent:
        where = "" if interpreters.is_own(python) else f" for {python}"
        return f"{', '.join(absent)} not installed{where}" + (
            f"; install with: {mend}" if mend else ""
        )
    if device not in entry.devices:
        return f"{entry.name} runs on {', '.join(entry.devices)} only, not on {device}"
    if device == "cuda" and not cuda_present():
        return "no CUDA device here (no NVIDIA driver is loaded)"
    return None


def cuda_present() -> bool:
    """Whether an NVIDIA driver is loaded and a device file is there (Linux, WSL)."""
    return any(os.path.exists(path) for path in ("/dev/nvidia0", "/dev/dxg"))
