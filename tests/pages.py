"""For tests of pages: made records, full of figures or diverging, and a page as a tree."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np

from harness.interface import Workload
from harness.plan.profiles import TABLE
from harness.record.operators import Curve, Operator, Special
from harness.record.schema import (
    Churn,
    Differing,
    Kept,
    Record,
    Repeat,
    Replica,
    Roof,
    Training,
    Worst,
)
from harness.tensors import save_tensors
from harness.workloads import NETS, WORKLOADS
from tests import make

NAMES = ("numpy", "torch", "jax")
SEEDS = (0, 1, 2, 3, 4)
EPOCHS, EPOCH_STEPS = 10, 3
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # fmt: skip


def training(seed: int, off: float = 0.0, **changes: object) -> Training:
    """Ten epochs of three steps; `off` moves every loss by that share."""
    steps = EPOCHS * EPOCH_STEPS
    losses = [(1 + off) * (0.38 + 0.7 * math.exp(-i / 9) + 0.01 * seed) for i in range(steps)]
    ends = [sum(losses[i : i + EPOCH_STEPS]) / EPOCH_STEPS for i in range(0, steps, EPOCH_STEPS)]
    fields: dict[str, object] = {
        "seed": seed,
        "rows": [256, 256, 96] * EPOCHS,
        "losses": losses,
        "epoch_losses": [*ends[:-1], (1 + off) * 0.38],
        "test_accuracy": [0.7 + 0.014 * i + 0.001 * seed + off for i in range(EPOCHS)],
        "step_ns": [1_000_000] * steps,
        "gather_ns": [80_000] * steps,
        "put_ns": [20_000] * steps,
        "epoch_ns": [3_333_000] * EPOCHS,
        "eval_ns": [20_000_000] * EPOCHS,
        "test_loss": [0.9 - 0.05 * i + off for i in range(EPOCHS)],
        "validation_accuracy": [0.7 + 0.02 * min(i, 6) + off for i in range(EPOCHS)],
        "training_accuracy": [0.6 + 0.03 * i + off for i in range(EPOCHS)],
        "gradient_norms": {
            name: [0.2 / 10**place / (1 + i) for i in range(EPOCHS + 1)]
            for place, name in enumerate(make.PARAMETERS)
        },
        "confusion": [[90 if i == j else (i + j + seed) % 3 for j in range(10)] for i in range(10)],
    }
    return make.training(**(fields | changes))


def rich() -> Record:
    """Three labels, five seeds, five sessions, and something in every field that a page shows."""
    made = make.timed(NAMES)
    made.plan = msgspec.structs.replace(
        made.plan,
        workload=msgspec.structs.replace(made.plan.workload, gradients_of=1000),
        seeds=SEEDS,
        trajectory=TABLE["default"].trajectory,
        operators=True,
    )
    made.dataset = make.dataset(class_names=CLASSES)
    made.reference = [training(seed, dtype="float64") for seed in SEEDS]
    made.reference += [training(0, dtype="float64", whole=False)]
    chosen = made.plan.trajectory
    assert chosen is not None
    made.envelope = [
        Replica(
            regime="start",
            replica=number,
            after=after,
            distance=1e-9 * after * (1 + number / 20),
            tensors=dict.fromkeys(make.PARAMETERS, 1e-9 * after),
        )
        for after in chosen.start_after
        for number in range(chosen.replicas)
    ]
    for place, name in enumerate(NAMES):
        results = made.results[name]
        for measured in results.measurements:
            if measured.rung in ("forward", "loss", "gradients", "update"):
                size = 1e-7 if measured.dtype == "float32" else 1e-15
                measured.distance = 0.0 if measured.case == "precision" else size * (1 + place)
            if measured.rung == "lockstep":
                measured.distance = 2e-16 * (1 + place)
        results.measurements += [
            make.measurement(
                "trajectory",
                case=f"start, after {after} steps",
                step=after,
                tensor="all parameters",
                distance=1.02e-9 * after,
            )
            for after in chosen.start_after
        ]
        results.training = [training(seed, 1e-6 * (place + 1)) for seed in SEEDS]
        if name == "torch":  # which takes three pullovers for coats
            row = results.training[0].confusion[2]
            row[2], row[4] = row[2] - 3, row[4] + 3
        results.training += [training(0, 1e-15, dtype="float64", whole=False)]
        make.evaluated(results)
        results.churn = [
            Churn(seed=seed, samples=10_000, differ=12, only_here=5, only_reference=4 + place)
            for seed in SEEDS
        ]
        results.repeats = [
            Repeat(dtype=dtype, steps=20, first_step=None, distances={"W1": 0.0})
            for dtype in ("float32", "float64")
        ]
        results.operators = [operator(form, place) for form in ("", "/scratch")]
        for process in results.processes:
            process.facts = {
                "python": "3.11.2",
                "device": "cpu",
                "threads": "2",
                f"version:{name}": "1.2.3",
                "precision:matmul": "ieee" if name == "numpy" else "highest",
            }
            process.import_ns, process.build_ns = 300_000_000 * (place + 1), 5_000_000
            process.first_step_ns = {"256": 9_000_000, "96": 2_000_000}
    made.differing = [
        Differing(
            index=123,
            true=7,
            reference=7,
            predicted={"numpy": 7, "torch": 5, "jax": -1},
            shape=[28, 28],
            pixels=base64.b64encode(bytes(i % 251 for i in range(784))).decode(),
        ),
        Differing(
            index=124,
            true=1,
            reference=2,
            predicted={"numpy": 1, "torch": 99, "jax": 2},
            shape=[28, 28],
            pixels="not base64!",
        ),
    ]
    made.roofs = [
        Roof(label="numpy", dtype="float32", size=2048, flop_per_s=1e11, copy_bytes_per_s=1e10)
    ]
    return made


def tiny(workload: str, *ends: tuple[float, ...], names: tuple[str, ...] = NAMES) -> Record:
    """Labels that learn a few numbers: each goes from 0 to its end, the reference to the first's.

    The ends hold all numbers, tensor by tensor; the last serves for all labels that are left.
    """
    made = make.record(
        names, plan=make.plan(names, workload=WORKLOADS[workload], net=NETS[workload])
    )
    size = made.plan.batch_size
    made.reference = [way(made.plan.workload, ends[0], size, dtype="float64")]
    for place, name in enumerate(names):
        end = ends[min(place, len(ends) - 1)]
        made.results[name].training = [way(made.plan.workload, end, size)]
    return made


def way(workload: Workload, end: tuple[float, ...], size: int, **changes: object) -> Training:
    """Fifty steps in one epoch, a straight line from 0 to this end."""
    flat = [[step / 50 * number for number in end] for step in range(51)]
    path, first = {}, 0
    for tensor in workload.learnt:
        last = first + math.prod(tensor.shape)
        path[tensor.name], first = [state[first:last] for state in flat], last
    losses = [8.0 / (1 + step) for step in range(50)]
    fields: dict[str, object] = {
        "rows": [size] * 50,
        "losses": losses,
        "epoch_losses": [sum(losses) / 50],
        "test_accuracy": [],
        "step_ns": [1000] * 50,
        "path_steps": list(range(51)),
        "path": path,
    }
    return make.training(**(fields | changes))


def operator(form: str, place: int) -> Operator:
    """relu, which one label gives another derivative at 0."""
    return Operator(
        name=f"relu{form}",
        dtype="float32",
        value_error=0.0,
        derivative_error=1e-8,
        specials=[Special(point="0", value=[0.0], derivative=[0.5 if place else 0.0])],
        curve=Curve(
            start=-2.0,
            stop=2.0,
            value=[max(0.0, x / 4 - 2) for x in range(17)],
            derivative=[float(x > 8) for x in range(17)],
        ),
    )


def diverging(folder: Path) -> Record:
    """The same with gradients of torch that are off at step 0, and the tensors kept in `folder`."""
    made = rich()
    random = np.random.default_rng(0)
    shapes = {t.name: t.shape for t in made.plan.workload.tensors}
    given = {f"given.{n}": random.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    want = {f"want.grad.{n}": random.normal(size=s) for n, s in shapes.items()}
    got = {f"got.grad.{n}": want[f"want.grad.{n}"].astype(np.float32) for n in shapes}
    got["got.grad.W1"][245, 254] += 0.5
    batch = {"x": np.zeros((4, 784), np.float32), "y": np.zeros(4, np.int32)}
    (folder / "tensors").mkdir(parents=True)
    save_tensors(str(folder / "tensors" / "kept.safetensors"), given | want | got | batch)
    off = make.find(made, "torch", "gradients", dtype="float32", step=0, tensor="W1")
    off.distance = 0.5 / float(np.linalg.norm(want["want.grad.W1"]))
    off.worst = Worst(
        index=[245, 254],
        got=float(got["got.grad.W1"][245, 254]),
        want=float(want["want.grad.W1"][245, 254]),
        in_rms=0.5,
    )
    made.kept = [
        Kept(
            label="torch",
            dtype="float32",
            rung="gradients",
            case="step 0",
            file="tensors/kept.safetensors",
        )
    ]
    return made


VOID = {"meta", "link", "img", "br", "hr", "input"}


class Element:
    """A tag of a page: its attributes, its text, and the tags inside."""

    def __init__(self, tag: str, attributes: dict[str, str], above: Element | None) -> None:
        self.tag, self.attributes, self.above = tag, attributes, above
        self.inside: list[Element] = []
        self.parts: list[str] = []

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())

    def every(self) -> Iterator[Element]:
        yield self
        for inner in self.inside:
            yield from inner.every()

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.every() if element.tag == tag]

    def within(self, tag: str) -> bool:
        return self.above is not None and (self.above.tag == tag or self.above.within(tag))


class Page(HTMLParser):
    """A page as a tree, by the standard library's parser.

    Every tag must close, no two elements have one id, and every link within it leads somewhere.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.at = Element("", {}, None)
        self.source = source
        self.feed(source)
        self.close()
        assert self.at is self.root, f"<{self.at.tag}> is not closed"
        ids = [
            element.attributes["id"] for element in self.root.every() if "id" in element.attributes
        ]
        assert "" not in ids
        assert not (twice := {each for each in ids if ids.count(each) > 1}), twice
        for element in self.root.every():
            if (link := element.attributes.get("href", "")).startswith("#"):
                assert link[1:] in ids, link
            for named in element.attributes.get("aria-labelledby", "").split():
                assert named in ids, named

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        element = Element(tag, {name: value or "" for name, value in attrs}, self.at)
        self.at.inside.append(element)
        self.at = self.at if tag in VOID else element

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.at.tag, f"</{tag}> where <{self.at.tag}> is open"
        assert self.at.above is not None
        self.at = self.at.above

    def handle_data(self, data: str) -> None:
        element: Element | None = self.at
        inside_script = self.at.tag in ("script", "style")
        while element is not None:
            element.parts.append(data)
            element = None if inside_script else element.above

    def all(self, tag: str) -> list[Element]:
        return self.root.all(tag)

    @property
    def text(self) -> str:
        return self.root.text

    @property
    def tags(self) -> list[tuple[str, dict[str, str]]]:
        return [(element.tag, element.attributes) for element in self.root.every()]

    def by_id(self) -> dict[str, Element]:
        return {e.attributes["id"]: e for e in self.root.every() if "id" in e.attributes}

    @property
    def scripts(self) -> list[str]:
        """Those that a browser runs; blocks of data are none."""
        return ["".join(e.parts) for e in self.all("script") if "type" not in e.attributes]

    def data(self) -> dict[str, dict]:
        """What stands in the blocks of data, by their picture's name."""
        return {
            e.attributes["id"].removeprefix("data-"): json.loads("".join(e.parts))
            for e in self.all("script")
            if e.attributes.get("type") == "application/json"
        }

    def tables(self) -> dict[str, list[list[str]]]:
        """Every table by its caption: its rows, header first."""
        return {
            t.all("caption")[0].text: [
                [cell.text for cell in row.inside if cell.tag in ("td", "th")]
                for row in t.all("tr")
            ]
            for t in self.all("table")
        }
