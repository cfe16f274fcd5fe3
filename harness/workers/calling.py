"""One function, called as a user of its framework calls it: arrays in, arrays out.

Whatever it does is told and nothing is judged. Used by the desk of a worker, and where somebody
hands over a function of their own process. Imports NumPy and msgspec; a framework's room
(`backends/<name>/functions.py`) is handed in.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

import backends
import harness
from harness.interface import Array
from harness.text import described, plain

# What is positional among arguments, and in which place.
PLACE = re.compile(r"arg(0|[1-9]\d{0,3})")
# Steps of a central difference, as a part of an element's size or of 1: its error is that squared
# or less, and of rounding there are 2**-53 of the sum divided by it.
STEP = 2.0**-10
# Elements by which one argument is differentiated: all of a small one, fewer of a large one, whose
# calls take longer.
MOST_ELEMENTS, LEAST_ELEMENTS, MOST_WORK = 1024, 16, 2**20
# Where the code is that no user wrote.
OWN = tuple(os.path.dirname(str(package.__file__)) + os.sep for package in (backends, harness))


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """What a call came to, beside its numbers.

    `failed`: why there is no value, in one line; `ended`: because its process died or was ended;
    `dtypes`: by output, as the framework calls them; `notes`: what else it did, a line each;
    `no_gradient`: why there is none, where one was asked for.
    """

    failed: str | None = None
    ended: bool = False
    dtypes: dict[str, str] = {}
    notes: list[str] = []
    no_gradient: str | None = None


@dataclass(frozen=True)
class Called:
    """A call: `values` by output ("" where only one array comes out), `gradients` by argument."""

    said: Said
    values: dict[str, Array] = field(default_factory=dict)
    gradients: dict[str, Array] = field(default_factory=dict)


class NoNumbers(Exception):
    """What came out holds no numbers; the message says what it is."""


class Function:
    """A function in its framework. `load` gives it, under the dtype that it is then called in."""

    def __init__(self, room: Any, load: Callable[[], Callable[..., Any]]) -> None:
        self._room = room
        self._load = load
        self._loaded: dict[str, Callable[..., Any]] = {}

    def call(
        self,
        arrays: Mapping[str, Array],
        settings: Mapping[str, Any],
        dtype: str,
        *,
        gradient: bool = False,
        strided: str = "",
    ) -> Called:
        """Call it with floats of a dtype, and perhaps differentiate it; whatever it raises is told.

        arrays: by the arguments' names (`arg0` is the first that has none), copied; settings: what
        is handed on as it stands; strided: an argument that is to lie in memory with gaps. The
        derivatives are those of the sum of `weigh` * values.
        """
        with self._quiet(dtype):
            try:
                given = {name: self._put(a, dtype, name == strided) for name, a in arrays.items()}
                parts, notes = flat(self._invoke(given, settings, dtype), self._room.is_own)
                fetched = {name: self._fetched(part, dtype) for name, part in parts.items()}
                notes += self._changed(arrays, given, dtype)
            except (Exception, SystemExit) as error:
                return Called(Said(failed=told(error)))
            said = Said(dtypes={name: of for name, (_, of) in fetched.items()}, notes=notes)
            grads: dict[str, Array] = {}
            if gradient:
                try:
                    grads = self._derivatives(arrays, settings, dtype)
                except (Exception, SystemExit) as error:
                    said.no_gradient = told(error)
            return Called(said, {name: array for name, (array, _) in fetched.items()}, grads)

    def load(self, dtype: str) -> None:
        """Load it, as a first call in that dtype would; whatever that raises is raised."""
        with self._quiet(dtype):
            self._function(dtype)

    def _function(self, dtype: str) -> Any:
        key = dtype if self._room.ANEW else ""
        if key not in self._loaded:
            self._loaded[key] = self._load()
        return self._loaded[key]

    def _invoke(self, given: Mapping[str, Any], settings: Mapping[str, Any], dtype: str) -> Any:
        """Call it: what has a place for a name without one, in order."""
        named = {**given, **settings}
        places = sorted((int(m[1]), name) for name in named if (m := PLACE.fullmatch(name)))
        return self._function(dtype)(*[named.pop(name) for _, name in places], **named)

    @contextlib.contextmanager
    def _quiet(self, dtype: str) -> Iterator[None]:
        """Warnings are no answer: what is not finite shows in the numbers."""
        wide = self._room.wide() if dtype == "float64" else contextlib.nullcontext()
        with warnings.catch_warnings(), np.errstate(all="ignore"), wide:
            warnings.simplefilter("ignore")
            yield

    def _put(self, array: Array, dtype: str, strided: bool = False) -> Any:
        cast = np.array(array, dtype if array.dtype.kind == "f" else array.dtype)
        return self._room.put(with_gaps(cast) if strided else cast)

    def _fetched(self, part: Any, dtype: str) -> tuple[Array, str]:
        """An output and its dtype's name; a Python number is a float of the dtype asked for."""
        if self._room.is_own(part):
            array, name = self._room.fetch(part)
        else:
            array = np.array(part)
            name = str(array.dtype)
            if not isinstance(part, np.ndarray | np.generic) and array.dtype.kind == "f":
                array, name = array.astype(dtype), dtype
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise NoNumbers(f"an array of {name}, which is not compared")
        return array, name

    def _changed(
        self, arrays: Mapping[str, Array], given: Mapping[str, Any], dtype: str
    ) -> list[str]:
        """Which arguments it has written into."""
        notes = []
        for name, array in arrays.items():
            cast = array.astype(dtype) if array.dtype.kind == "f" else array
            try:
                after, _ = self._room.fetch(given[name])
            except Exception:  # a buffer that was donated is gone
                notes.append(f"takes the memory of its argument {name}")
                continue
            if after.astype(cast.dtype).tobytes() != cast.tobytes():
                notes.append(f"changes its argument {name}")
        return notes

    def _derivatives(
        self, arrays: Mapping[str, Array], settings: Mapping[str, Any], dtype: str
    ) -> dict[str, Array]:
        floats = [name for name, array in arrays.items() if array.dtype.kind == "f"]

        def call(given: list[Any]) -> list[Any]:
            others = {name: self._put(a, dtype) for name, a in arrays.items() if name not in floats}
            named = others | dict(zip(floats, given, strict=True))
            return [*flat(self._invoke(named, settings, dtype), self._room.is_own)[0].values()]

        by = [np.array(arrays[name], dtype) for name in floats]
        return dict(zip(floats, self._room.derivatives(call, by, weigh), strict=True))

    def differences(
        self, arrays: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> dict[str, Array]:
        """Central differences of its float64 value, by elements of every float argument.

        For each argument "at.NAME": int64 (k,), elements in C order; "slope.NAME", "error.NAME":
        float64 (k,), of the sum of `weigh` * values. The error is infinite at a kink. NoNumbers
        where the function fails.
        """
        held = {name: np.array(array, order="C") for name, array in arrays.items()}
        weights: dict[tuple[int, tuple[int, ...]], Array] = {}

        def total() -> tuple[float, float]:
            """The weighed sum, and that of its terms' sizes."""
            given = {name: self._put(array, "float64") for name, array in held.items()}
            parts, _ = flat(self._invoke(given, settings, "float64"), self._room.is_own)
            values = [self._fetched(part, "float64")[0] for part in parts.values()]
            there, size = 0.0, 0.0
            for at, value in enumerate(values):
                if value.dtype.kind == "f":
                    key = at, value.shape
                    weights[key] = weights[key] if key in weights else weigh(*key)
                    terms = weights[key] * value
                    there, size = there + float(terms.sum()), size + float(np.abs(terms).sum())
            return there, size

        found: dict[str, Array] = {}
        with self._quiet("float64"):
            try:
                middle = total()
                for name, array in arrays.items():
                    if array.dtype.kind != "f" or not array.size:
                        continue
                    held[name] = np.array(array, np.float64, order="C")
                    elements, at = held[name].reshape(-1), chosen(array.size)
                    slopes = np.array([_slope(total, middle, elements, i) for i in at])
                    found[f"at.{name}"] = at
                    found[f"slope.{name}"], found[f"error.{name}"] = slopes.T
            except (Exception, SystemExit) as error:
                raise NoNumbers(told(error)) from None
        return found


def _slope(
    total: Callable[[], tuple[float, float]], middle: tuple[float, float], x: Array, at: int
) -> tuple[float, float]:
    """The derivative by an element and its error, by two central differences and what is between.

    middle: what `total` gives; x: the elements that it is computed from, left as they are.
    """
    here = float(x[at])
    wide, slopes, bends = STEP * max(abs(here), 1.0), [], []
    for step in (wide, wide / 2):
        sides = []
        for x[at] in (here + step, here - step):
            sides.append(total()[0])
        x[at] = here
        slopes.append((sides[0] - sides[1]) / (2 * step))
        bends.append(abs((sides[0] - middle[0]) - (middle[0] - sides[1])) / step)
    rounding = 2.0**-45 * middle[1] / wide
    # Where the function is smooth the slopes of both sides come together as the step is halved.
    kink = bends[1] > 0.75 * bends[0] + rounding
    error = 4 * abs(slopes[1] - slopes[0]) + rounding
    best = (4 * slopes[1] - slopes[0]) / 3
    return (best, error) if np.isfinite(error) and not kink else (0.0, np.inf)


def chosen(size: int) -> Array:
    """Elements to differentiate by: all, or some spread evenly, the first and last among them."""
    most = min(size, MOST_ELEMENTS, max(LEAST_ELEMENTS, MOST_WORK // size))
    return np.unique(np.linspace(0, size - 1, most).round().astype(np.int64))


def weigh(place: int, shape: tuple[int, ...]) -> Array:
    """Fixed weights of one output, float64 of its shape: of both signs, between ½ and 1½."""
    number = np.arange(np.prod(shape, dtype=np.int64)) + 31 * place
    sign = 1 - 2 * (number % 2)
    return np.asarray(sign * (0.5 + (number * 7919 % 1009) / 1009)).reshape(shape)


def with_gaps(array: Array) -> Array:
    """The same numbers, every second place of twice the memory between them; 0-d as it is."""
    if not array.ndim:
        return array
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    view = wide[..., ::2]
    view[...] = array
    return view


def flat(value: Any, is_own: Callable[[Any], bool]) -> tuple[dict[str, Any], list[str]]:
    """What came out as arrays or numbers by name, and what is to be said of its kind.

    Names are as they are written behind what came out: "[0]", "['mean']"; "" for a lone one.
    NoNumbers where there is anything but numbers in it.
    """
    if is_own(value) or isinstance(value, np.ndarray | np.generic):
        return {"": value}, []
    if isinstance(value, bool | int | float):
        return {"": value}, [f"gives a Python {type(value).__name__}, taken as an array"]
    kind = type(value).__name__
    if isinstance(value, list | tuple) and _numbers(value):
        return {"": value}, [f"gives a {kind} of numbers, taken as an array"]
    if isinstance(value, list | tuple):
        items: list[tuple[Any, Any]] = [*enumerate(value)]
    elif isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: str(item[0]))
    else:
        raise NoNumbers("None" if value is None else f"a {plain(kind)}")
    parts: dict[str, Any] = {}
    for key, item in items:
        inside, _ = flat(item, is_own)
        parts |= {f"[{plain(repr(key), 40)}]{name}": part for name, part in inside.items()}
    return parts, [f"gives a {kind} of {len(parts)} arrays"]


def _numbers(value: Any) -> bool:
    """Whether a list holds Python's numbers and nothing else, however deep."""
    if isinstance(value, list | tuple):
        return all(map(_numbers, value))
    return isinstance(value, bool | int | float)


def arguments(made: Any) -> tuple[dict[str, Array], dict[str, Any]]:
    """Arguments from a dictionary, a tuple or a list: arrays by name, and what is none.

    What has no name is `arg0` and so on; names arr_0, arr_1 … as NumPy gives them are none.
    ValueError, in a few words, for anything else.
    """
    if isinstance(made, list | tuple):
        made = {f"arg{place}": item for place, item in enumerate(made)}
    if not isinstance(made, Mapping):
        kind = type(made).__name__
        raise ValueError(f"a dictionary or a tuple of them is wanted, not a {kind}")  # noqa: TRY004
    if made and all(re.fullmatch(r"arr_\d+", str(name)) for name in made):
        made = {f"arg{str(name)[4:]}": item for name, item in made.items()}
    arrays: dict[str, Array] = {}
    settings: dict[str, Any] = {}
    for name, item in made.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"{name!r} is no name of an argument")
        if not hasattr(item, "__array__"):
            settings[name] = item
            continue
        arrays[name] = np.array(item)
        if arrays[name].dtype.kind not in "fiub":
            dtype = arrays[name].dtype
            raise ValueError(f"{name} holds {dtype}: floats, whole numbers and bools are wanted")
    places = sorted(int(m[1]) for name in made if (m := PLACE.fullmatch(name)))
    if places != [*range(len(places))]:
        raise ValueError(f"arguments {', '.join(made)}: of those without a name one is missing")
    return arrays, settings


def told(error: BaseException) -> str:
    """An error in one line, with the place in the user's file that it comes from."""
    if isinstance(error, NoNumbers):
        return f"gives {error}"
    frames, at = error.__traceback__, ""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if not file.startswith(("<", *OWN)) and "site-packages" not in file:
            at = f" ({os.path.basename(file)}, line {frames.tb_lineno})"
        frames = frames.tb_next
    return f"raises {described(error)}{at}"
