"""Small made records for the tests: what a clean run would store, cut to a few tensors."""

from __future__ import annotations

import re
import struct
from typing import Any

import msgspec
import numpy as np

from harness.data.fashion_mnist import REAL_SHA256
from harness.plan import make as planning
from harness.plan.choices import Choices
from harness.plan.model import Label, Plan
from harness.plan.profiles import TABLE
from harness.record.schema import (
    Case,
    DatasetFacts,
    KnownAnswer,
    Measurement,
    Process,
    Record,
    Results,
    Round,
    Training,
    Worst,
    evaluation_case,
)
from harness.workers import providers
from harness.workloads import DEFAULT, NETS, WORKLOADS

CASES = (("step 0", 0), ("step 10", 10), ("corner", None))
PARAMETERS = ("W1", "b1", "W2", "b2")
TENSORS = {
    "inputs": ("x", "y", *PARAMETERS),
    "forward": ("logits",),
    "loss": ("loss", "step loss"),
    "gradients": PARAMETERS,
    "update": PARAMETERS,
}
PRODUCTS = ("product, left operand", "product, right operand")
LOCKSTEP_STEPS = (9, 234)

# The workloads but those of which one step is many GFLOP: what all are asked takes minutes there.
LIGHT = [name for name, workload in WORKLOADS.items() if workload.work < 1e9]


def make_plan(workload: str | None = None, **choices: Any) -> Plan:
    """The plan for a user's words: the fields of Choices, and the workload's name."""
    return planning.make_plan(Choices(**choices), *providers.find(workload))


def label(backend: str = "numpy", **changes: Any) -> Label:
    made = Label(
        backend=backend,
        variant="eager",
        device="cpu",
        dtype="float32",
        precision="strict",
        python="python",
        twin=True,
        asked_for=True,
    )
    return msgspec.structs.replace(made, **changes)


def plan(names: tuple[str, ...] = ("numpy", "torch"), **changes: Any) -> Plan:
    row = TABLE["default"]
    made = Plan(
        profile="default",
        workload=WORKLOADS[DEFAULT],
        net=NETS[DEFAULT],
        labels={name: label(re.split("[:@]", name)[0]) for name in names},
        reference="harness/float64",
        dataset="auto",
        data_dir=None,
        seeds=(0,),
        threads=2,
        steps=None,
        checkpoints=row.checkpoints,
        lockstep_epochs=1,
        screen_margin=64.0,
        timing=row.timing,
    )
    return msgspec.structs.replace(made, **changes)


def measurement(rung: str = "gradients", **changes: Any) -> Measurement:
    fields: dict[str, Any] = {
        "dtype": "float32",
        "rung": rung,
        "case": "step 0",
        "step": 0,
        "tensor": "W1",
        "shape": [784, 256],
        "digest": "0123456789abcdef",
        "distance": 0.0,
        "want_norm": 1.0,
        "got_norm": 1.0,
        "worst": Worst(index=[3, 4], got=1.5, want=1.25, in_rms=0.5),
    }
    return Measurement(**(fields | changes))


def training(**changes: Any) -> Training:
    fields: dict[str, Any] = {
        "dtype": "float32",
        "seed": 0,
        "whole": True,
        "rows": [256, 96],
        "losses": [1.0, 0.5],
        "epoch_losses": [1.0, 0.5, 0.39, 0.38],
        "test_accuracy": [0.7, 0.83, 0.84, 0.835],
        "step_ns": [1000, 900],
        "epoch_ns": [2000],
        "eval_ns": [300],
        "final_norms": {"W1": 8.0},
    }
    return Training(**(fields | changes))


def rounds(step_ns: int = 1000, number: int = 8) -> list[Round]:
    return [
        Round(
            round=i,
            place=0,
            step_ns=[step_ns, step_ns + i, step_ns + 2 * i],
            gather_ns=[10],
            put_ns=[20],
            warmup_ns=[],
            products_ns=[400, 500],
        )
        for i in range(number)
    ]


def sessions(
    step_ns: int = 1_000_000, *, number: int = 5, rounds: int = 6, digest: str = "0123"
) -> list[Round]:
    """Rounds of several sessions as a clean run stores them: the first of each is warm-up.

    Sessions differ by up to 0.4 %, as processes do; the products take 700 microseconds.
    """
    found = []
    for session in range(number):
        step = step_ns + step_ns * (session * 2 % 5 - 2) // 500
        for i in range(rounds):
            replayed = digest if i == 1 else None
            found.append(
                Round(
                    session=session,
                    round=i,
                    place=0,
                    step_ns=[step - 1000, step + i, step + 1000],
                    gather_ns=[80_000] * 3,
                    put_ns=[20_000] * 3,
                    warmup_ns=[2 * step],
                    products_ns=[700_000, 710_000],
                    burst_steps=6,
                    burst_ns=[6 * step, 12 * step],
                    drain_ns=[150_000, 140_000],
                    cpu_ns=2 * 3 * step,
                    digest=replayed,
                    replayed=replayed,
                )
            )
    return found


def timed(names: tuple[str, ...] = ("numpy", "torch"), **words: int) -> Record:
    """A record whose every label was timed in five sessions (or `number`), NumPy also again.

    Labels after the first take half as long again as the one before.
    """
    made = record(names)
    number = words.get("number", 5)
    timing = msgspec.structs.replace(
        made.plan.timing, sessions=number, again="numpy" if "numpy" in names else None
    )
    made.plan = msgspec.structs.replace(made.plan, timing=timing)
    for place, name in enumerate(names):
        made.results[name].rounds = sessions(1_000_000 + 500_000 * place, **words)
        made.results[name].training = [
            training(
                step_ns=[1_000_000, 1_000_000],
                gather_ns=[80_000, 80_000],
                put_ns=[20_000, 20_000],
                epoch_ns=[2_222_000],
            )
        ]
        made.results[name].processes += [
            Process(label=name, dtype="float32", session=session, status="ok")
            for session in range(1, number)
        ]
    if "numpy" in names:
        made.again["numpy"] = Results(rounds=sessions(1_001_000, **words))
    return made


def lasting(**step_us: float) -> Record:
    """`timed`, with steps of so many microseconds; products take .7 of the first label's step."""
    made = timed(tuple(step_us))
    first, *_ = step_us.values()
    for place, (name, us) in enumerate(step_us.items()):
        shorter = us * 1000 / (1_000_000 + 500_000 * place)
        again = made.again[name].rounds if name in made.again else []
        for r in (*made.results[name].rounds, *again):
            for field in ("step_ns", "burst_ns", "warmup_ns"):
                setattr(r, field, [round(ns * shorter) for ns in getattr(r, field)])
            r.products_ns = [round(ns * first / 1000) for ns in r.products_ns]
            r.cpu_ns = 2 * sum(r.step_ns)
    return made


def results(name: str, *, dtypes: tuple[str, ...] = ("float32", "float64"), **changes: Any) -> Any:
    found = [
        measurement(rung, dtype=dtype, case=case, step=step, tensor=tensor)
        for dtype in dtypes
        for case, step in CASES
        for rung, tensors in TENSORS.items()
        for tensor in tensors
    ]
    if "float64" in dtypes:
        found += [
            measurement(
                "lockstep", dtype="float64", case=f"after step {step}", step=step, tensor=tensor
            )
            for step in LOCKSTEP_STEPS
            for tensor in (*PARAMETERS, "losses")
        ]
    found += [
        measurement("forward", dtype=dtype, case="precision", step=None, tensor=product)
        for dtype in dtypes
        for product in PRODUCTS
    ]
    fields: dict[str, Any] = {
        "processes": [
            Process(
                label=name,
                dtype=dtype,
                status="ok",
                facts={"python": "3.11.2", "version:numpy": "2.4.6"},
                first_step_ns={"256": 5000},
                peak_rss_bytes=10**8,
            )
            for dtype in dtypes
        ],
        "measurements": found,
        "training": [training()],
        "rounds": rounds(),
    }
    return evaluated(Results(**(fields | changes)))


def evaluated(results: Results) -> Results:
    """The same with the outputs measured that its accuracies were counted from."""
    held = {(m.dtype, m.case) for m in results.measurements}
    results.measurements += [
        measurement("forward", dtype=t.dtype, case=case, step=None, tensor="logits")
        for t in results.training
        for epoch in range(len(t.test_accuracy))
        if (t.dtype, case := evaluation_case(t.seed, epoch)) not in held
    ]
    return results


def dataset(**changes: Any) -> DatasetFacts:
    fields: dict[str, Any] = {
        "name": "fashion-mnist",
        "synthetic": False,
        "sha256": REAL_SHA256,
        "train": 60_000,
        "test": 10_000,
        "source": "somewhere",
    }
    return DatasetFacts(**(fields | changes))


def record(names: tuple[str, ...] = ("numpy", "torch"), **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "run": "20260101T000000-abcdef",
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 12.5,
        "ended": "finished",
        "harness_version": "0.1.0",
        "plan": plan(names),
        "machine": {"cpu": "a processor"},
        "dataset": dataset(),
        "known_answers": [KnownAnswer(name="an answer", want="1", got="1")],
        "cases": [Case(case=case, step=step, rows=256, replaced=1) for case, step in CASES],
        "lockstep_steps": list(LOCKSTEP_STEPS),
        "results": {name: results(name) for name in names},
    }
    return Record(**(fields | changes))


def find(made: Record, name: str, rung: str, **where: Any) -> Measurement:
    """The first measurement of a label's rung whose fields are as given."""
    return next(
        m
        for m in made.results[name].measurements
        if m.rung == rung and all(getattr(m, field) == value for field, value in where.items())
    )


def fail(made: Record, name: str, reason: str = "died of SIGSEGV") -> None:
    made.results[name].processes[0].status = "failed"
    made.results[name].processes[0].reason = reason


def skip(made: Record, name: str, reason: str = "torch not installed") -> None:
    """As a session stores a label it never started."""
    made.results[name] = Results(
        processes=[Process(label=name, dtype="float32", status="skipped", reason=reason)]
    )


def idx_bytes(array: np.ndarray) -> bytes:
    """The array, uint8, as an idx file."""
    return struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
