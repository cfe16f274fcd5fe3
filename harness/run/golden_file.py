"""Golden files: a float64 training, stored, which backends are held to later.

A file holds the loss of every step and the parameters after some, as one backend (or the harness's
own reference) computed them, so that neither it nor its framework is needed again. It is a
safetensors file whose metadata say what was trained, on what, and by whom. Imports no framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from harness.errors import HarnessError, InputError
from harness.files import decode, open_plain, why, write_atomic
from harness.interface import Array, State, Workload
from harness.record.schema import DatasetFacts
from harness.results.golden import Data, Header
from harness.run.inputs import Inputs
from harness.workloads import WORKLOADS, known
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import digest

# 2: the header has a workload of any model.
SCHEMA = 2
KIND = "golden file"
# The one entry of a file's metadata.
KEY = "harness.golden"
# A file of the whole ten epochs with thirty checkpoints has 50 MB.
MOST_BYTES = 200_000_000


class Golden(NamedTuple):
    """A golden file: losses float64 (steps,), and parameters by numbers of steps done."""

    header: Header
    losses: Array
    states: dict[int, State]


def shared(inputs: Inputs, seed: int, steps: int) -> dict[str, str]:
    """Digests of what no backend makes: initial parameters, and the samples of so many steps."""
    workload, size = inputs.plan.workload, inputs.plan.batch_size
    slots = canonical.schedule(inputs.epoch, size, workload.epochs)[:steps]
    orders = inputs.orders(seed, slots[-1].epoch + 1).astype(np.int64)
    rows = np.concatenate([orders[slot.epoch][slot.start : slot.stop] for slot in slots])
    digests = {name: digest(value) for name, value in inputs.initial(seed).items()}
    return digests | {"the order": digest(rows)}


def data_of(facts: DatasetFacts) -> Data:
    """A run's data set, as a file names it."""
    return Data(name="synthetic" if facts.synthetic else facts.name, sha256=facts.sha256)


def follow(inputs: Inputs, data: Data, header: Header) -> None:
    """Take lockstep through a file's steps, as far as the plan's schedule takes the same ones.

    InputError where data, seed or schedule are others, HarnessError where the shared code is.
    """
    seed, workload = inputs.plan.seeds[0], inputs.plan.workload
    if workload.name != header.workload.name:
        raise InputError(
            f"the golden file is of {header.workload.name}, and this is {workload.name}; "
            f"choose --workload {header.workload.name}"
        )
    if data.sha256 != header.data.sha256:
        raise InputError(
            f"the golden file was made with {header.data.name} ({header.data.sha256[:12]}), "
            f"and this is {data.name} ({data.sha256[:12]}); choose its --data-dir"
        )
    if seed != header.seed:
        raise InputError(
            f"the golden file is of seed {header.seed}, and this is seed {seed}; choose --seeds "
            f"{header.seed}"
        )
    if workload != header.workload:
        raise InputError(
            f"the golden file is of {workload.name} as it is built in, and this is of another "
            "size; leave out --size"
        )
    digests = shared(inputs, seed, header.after[-1])
    if moved := [name for name, value in digests.items() if header.shared.get(name) != value]:
        raise HarnessError(
            f"{', '.join(moved)}: made here, not what the golden file was trained with; every "
            "backend would share the mistake"
        )
    whole = canonical.schedule(inputs.epoch, inputs.plan.batch_size, workload.epochs)
    pairs = enumerate(zip(inputs.slots, whole, strict=False))
    same = next((step for step, (a, b) in pairs if a != b), min(len(inputs.slots), len(whole)))
    after = [steps for steps in header.after if steps <= same]
    if not after:
        raise InputError(
            f"the golden file begins after {header.after[0]} steps, and profile "
            f"{inputs.plan.profile} takes the first {same}; choose --profile default"
        )
    inputs.follow(after)


def named(losses: Array, states: dict[int, State]) -> dict[str, Array]:
    """A file's tensors: "losses", and "<steps>/<tensor>"."""
    return {"losses": losses} | {
        f"{n}/{name}": value for n, of in states.items() for name, value in of.items()
    }


def _shapes(workload: Workload, after: list[int]) -> dict[str, tuple[int, ...]]:
    """The names and shapes of a file's tensors, all float64."""
    shapes: dict[str, tuple[int, ...]] = {"losses": (after[-1],)}
    return shapes | {f"{n}/{t.name}": t.shape for n in after for t in workload.learnt}


def unfit(
    tensors: dict[str, Array], workload: Workload, after: list[int]
) -> Iterator[tuple[str, str]]:
    """Tensors that nothing can be held to, each with what is wrong."""
    for name, shape in _shapes(workload, after).items():
        value = tensors.get(name)
        if value is None:
            yield name, "is missing"
        elif value.shape != shape or value.dtype != np.float64:
            yield name, f"is {value.dtype} {value.shape}, not float64 {shape}"
        elif not np.isfinite(value).all():
            yield name, "is not finite"


def write(golden: Golden, path: Path) -> None:
    """Store it, whole or not at all."""
    metadata = {KEY: msgspec.json.encode(golden.header).decode()}
    write_atomic(path, save(named(golden.losses, golden.states), metadata))


def read(path: Path) -> Golden:
    """A golden file; InputError for one that is cut, changed, foreign, or of another workload."""
    try:
        open_plain(path, MOST_BYTES).close()
        with safe_open(str(path), framework="numpy") as file:
            return _read(file, path)
    except OSError as error:
        raise InputError(f"{KIND} {path}: {why(error)}") from None
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{KIND} {path}: not a whole golden file ({error})") from None


def _read(file: Any, path: Path) -> Golden:
    text = (file.metadata() or {}).get(KEY)
    if text is None:
        raise InputError(f"{KIND} {path}: not one of the harness's golden files")
    header = decode(text, KIND, str(path), Header, SCHEMA)
    if any(a >= b for a, b in pairwise(header.after)):
        raise InputError(f"{KIND} {path}: its steps are not ascending")
    if not known(header.workload):
        raise InputError(
            f"{KIND} {path}: made for another workload than {' or '.join(WORKLOADS)} is here"
        )
    if header.data.name not in ("synthetic", header.workload.data):
        raise ValueError(f"data {header.data.name!r}")
    shapes = _shapes(header.workload, header.after)
    if {*file.keys()} != {*shapes} or {*header.tensors} != {*shapes}:
        raise InputError(f"{KIND} {path}: other tensors than it names")
    tensors: dict[str, Array] = {}
    for name, shape in shapes.items():
        part = file.get_slice(name)
        if part.get_dtype() != "F64" or tuple(part.get_shape()) != shape:
            raise InputError(f"{KIND} {path}: {name} is not float64 {shape}")
        tensors[name] = file.get_tensor(name)
        if digest(tensors[name]) != header.tensors[name]:
            raise InputError(f"{KIND} {path}: {name} was changed since it was written")
    for name, problem in unfit(tensors, header.workload, header.after):
        raise InputError(f"{KIND} {path}: {name} {problem}")
    states = {
        n: {t.name: tensors[f"{n}/{t.name}"] for t in header.workload.learnt} for n in header.after
    }
    return Golden(header, tensors["losses"], states)
