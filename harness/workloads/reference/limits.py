"""The one table of limits: rung x dtype x case, each with its reason and what was seen.

A clean backend stays below a third of every limit; a planted fault lies at three times or more.
The first row that fits is the limit. Imports no framework and no NumPy.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from harness import files
from harness.errors import InputError
from harness.text import fits, short

RUNGS = (
    *("inputs", "forward", "loss", "gradients", "update", "lockstep"),
    *("trajectory", "accuracy", "timing"),
)
# The rungs that decide the verdict; the others may stay inconclusive.
DECIDING = RUNGS[: RUNGS.index("trajectory")]
# The rungs whose value is a distance from the reference; the others are verdicts on seeds, clocks.
MEASURED = (*DECIDING, "trajectory")


# Correct code stays below a third of a limit: none lies below so many times its own rounding.
ROOM = 3
# A measured limit: so many times what replicas stray, and 16 units of roundoff at least.
NOISE, LEAST = 10, 16 * 2.0**-24
# What the rung accuracy compares, and the cases of its limits.
METRICS = ("test accuracy", "binary accuracy", "training loss")


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`case` is a pattern for the batch's name ("step 760", "shifted*", "*").

    `precision`: a pattern for the process's precision profile; `label`, `tensor`: for whose value
    of what it is. `seen`: the largest value of correct
    code over many runs, see results/reports/agreement.md.
    """

    rung: str
    dtype: str
    case: str
    value: float
    reason: str
    seen: str
    precision: str = "strict"
    label: str = "*"
    tensor: str = "*"

    @property
    def place(self) -> str:
        """What it is of, in words."""
        names = ("dtype", "case", "precision", "label", "tensor")
        told = [f"{n} {given}" for n in names if (given := getattr(self, n)) != "*"]
        return ", ".join([self.rung, *told])


_EXACT = "data, parameters and batches are copied, not computed: bit for bit"
_PROBE = (
    "every product and sum of this probe is exact in the precision (24, 11, 8 bits of "
    "significand; 53 in float64): any rounding is a coarser mode"
)
_TEACHER = "between rounding in correct code and the smallest rounding fault (TF32: 1e-4)"
_SHIFTED = "a logit near 1e3 is stored to 3e-5; its row has a spread of about 3"
_COSTS = "as forward: the shift costs its own rounding"
_STORED = "excess over storing the weight; lr off by 1e-4: 7e-5"
_DOUBLE = "float32's limit times 2**-29, with room"
_SILENT = "float32 computed in silence shows as 1e-7"
_DRIFT = "correct code drifts 2e-15 in 2 350 steps; lr wrong by 1e-9 shows as 1e-9"
_CUT = "three times operands cut to 10 bits; bfloat16 shows in the precision probe (limit 0)"
_NEAREST = "three times operands rounded to 7 bits; cut operands (1.2e-2) exceed it"
_FEW = "as other batches; nothing averages out over so few samples"
_EARLY = "screened; lr off by 10 % gives 1e-1, ReLU'(0) = 1 gives 5.7e-2 in corner"
_LATE = "late gradients cancel over a batch; a unit flips in 2 (tf32), 17 (bfloat16) of 302 batches"


def _reduced(
    precision: str, early: tuple[float, str], late: tuple[float, str]
) -> tuple[Limit, ...]:
    """Gradients and updates of a reduced precision: (limit, seen) of early and of late batches."""
    cases = (("step ?", _EARLY, *early), ("corner", _EARLY, *early), ("*", _LATE, *late))
    return tuple(
        Limit(rung, "float32", case, value, reason, seen, precision)
        for rung in ("gradients", "update")
        for case, reason, value, seen in cases
    )


LIMITS: tuple[Limit, ...] = (
    Limit("inputs", "*", "*", 0.0, _EXACT, "0", precision="*"),
    Limit("forward", "*", "precision", 0.0, _PROBE, "0", precision="*"),
    Limit("forward", "float32", "shifted*", 5e-5, _SHIFTED, "<= 5.7e-6"),
    Limit("forward", "float32", "*", 5e-6, _TEACHER, "<= 8.7e-7"),
    Limit("loss", "float32", "shifted*", 5e-5, _COSTS, "<= 8.4e-6"),
    Limit("loss", "float32", "*", 5e-6, _TEACHER, "<= 6.0e-7"),
    Limit("gradients", "float32", "shifted*", 1e-4, "as forward, through softmax", "<= 1.7e-6"),
    Limit("gradients", "float32", "*", 1e-5, _TEACHER, "<= 2e-6"),
    Limit("update", "float32", "shifted*", 1e-4, "as the gradients of the same batch", "<= 1.6e-6"),
    Limit("update", "float32", "*", 1e-5, _STORED, "<= 9.8e-7"),
    Limit("forward", "float64", "shifted*", 1e-12, _DOUBLE, "<= 1.1e-14"),
    Limit("loss", "float64", "shifted*", 1e-12, "as forward", "<= 1.1e-15"),
    Limit("gradients", "float64", "shifted*", 1e-12, "as forward", "<= 1.8e-15"),
    Limit("update", "float64", "shifted*", 1e-12, "as forward", "<= 1.8e-15"),
    Limit("forward", "float64", "*", 1e-13, _SILENT, "<= 1e-14"),
    Limit("loss", "float64", "*", 1e-13, "as forward", "<= 1e-14"),
    Limit("gradients", "float64", "*", 1e-13, "as forward", "<= 1e-14"),
    Limit("update", "float64", "*", 1e-13, "as forward, in excess", "<= 1e-14"),
    Limit("lockstep", "float64", "*", 1e-12, _DRIFT, "<= 2.6e-15"),
    # Reduced precision: every product's operands are rounded, sums stay in float32. tf32: to
    # nearest or cut (torch says that only ten bits are read), screened at 2000; bfloat16: to
    # nearest, screened at 8000. Simulated in NumPy on the real data: 302 checkpoints of seeds 0
    # and 1, steps 0 to 9 of seeds 0 to 4, the probes, and 20 small batches at each of seven steps.
    Limit("forward", "float32", "*", 5e-3, _CUT, "<= 1.6e-3; to nearest <= 5.6e-4", "tf32"),
    Limit("loss", "float32", "*batch of*", 7e-3, _FEW, "<= 2.2e-3", "tf32"),
    Limit("loss", "float32", "*", 4e-3, _CUT, "<= 1.3e-3 (confident)", "tf32"),
    *_reduced("tf32", (5e-3, "<= 1.3e-3"), (3e-2, "<= 8.5e-3")),
    Limit("forward", "float32", "*batch of*", 1.6e-2, _FEW, "<= 5.2e-3", "bfloat16"),
    Limit("forward", "float32", "*", 1.1e-2, _NEAREST, "<= 3.5e-3", "bfloat16"),
    Limit("loss", "float32", "*batch of*", 3e-2, _FEW, "<= 9.1e-3", "bfloat16"),
    Limit("loss", "float32", "*", 5e-3, _NEAREST, "<= 1.4e-3", "bfloat16"),
    *_reduced("bfloat16", (1.5e-2, "<= 4.3e-3"), (9e-2, "<= 2.7e-2")),
)


def limit_for(
    rung: str,
    dtype: str,
    case: str,
    precision: str = "strict",
    table: tuple[Limit, ...] = LIMITS,
    noise: object = None,
    measured: bool = False,
    *,
    label: str = "",
    tensor: str = "",
) -> Limit | None:
    """The first row that fits, or None where nothing is fixed.

    label, tensor: whose value of what; rows of the built-in table are for all. precision: of the
    process that was measured; a float64 process is always strict. noise: the furthest that replicas
    of the reference in this dtype strayed on this very batch, where that is known and finite; a row
    of the built-in table is never held below `ROOM` times that, `NOISE` times where rounding has
    grown over many steps, or where limits are measured: there that of strict float32 is `NOISE`
    times it, whatever the row says.
    """
    for limit in table:
        if (
            limit.rung == rung
            and fnmatchcase(dtype, limit.dtype)
            and fnmatchcase(case, limit.case)
            and fnmatchcase(precision, limit.precision)
            and fits(label, limit.label)
            and fits(tensor, limit.tensor)
        ):
            if not isinstance(noise, float) or limit not in LIMITS:
                return limit
            strict = dtype == "float32" and precision == "strict"
            if strict and measured:
                return _measured(limit, noise)
            return _widened(limit, noise, NOISE if measured or rung == "lockstep" else ROOM)
    return None


def _measured(limit: Limit, noise: float) -> Limit:
    """What rounding in correct code comes to on a batch, with room."""
    return msgspec.structs.replace(
        limit,
        value=max(NOISE * noise, LEAST),
        reason=f"{NOISE} times what replicas of the reference stray on this very batch, and 16 "
        "units of float32's roundoff at least",
        seen=f"<= {short(noise)} in the replicas",
    )


def with_jump(limit: Limit, jump: float) -> Limit:
    """The same where units within rounding of a kink may fall on its other side."""
    return msgspec.structs.replace(
        limit,
        value=limit.value + jump,
        reason=f"{limit.reason}; and {short(jump)}, what units within rounding of a kink can move",
    )


def _widened(limit: Limit, noise: float, room: int) -> Limit:
    if room * noise <= limit.value:
        return limit
    return msgspec.structs.replace(
        limit,
        value=room * noise,
        reason=f"{room} times what replicas of the reference itself stray on this very batch; "
        f"{short(limit.value)}, the limit of other batches, lies below that",
        seen=f"<= {short(noise)} in the replicas",
    )


def read_limits(path: Path) -> tuple[Limit, ...]:
    """The table with the rows of a TOML file before it; InputError for a file that is not one.

    The file holds [[limit]] tables with rung and value, and where they matter dtype, case,
    precision, label and tensor (patterns; default "*"), and a reason.
    """
    rows = files.read_toml(path, "--limits", _LimitsFile).limit
    for row in rows:
        if row.rung not in RUNGS:
            raise InputError(f"--limits {path}: rung {row.rung!r} is none of {', '.join(RUNGS)}")
        if row.rung == "timing":
            raise InputError(f"--limits {path}: timing has a band in the plan, no limit")
        if row.rung == "accuracy" and (row.case not in METRICS or row.value == 0):
            raise InputError(
                f"--limits {path}: accuracy needs a case ({', '.join(METRICS)}) and a value > 0"
            )
        if not 0 <= row.value < float("inf"):
            raise InputError(f"--limits {path}: a limit of {row.value} is no number from 0 up")
    return (*(Limit(**msgspec.structs.asdict(row), seen="–") for row in rows), *LIMITS)


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    rung: str
    value: float
    dtype: str = "*"
    case: str = "*"
    precision: str = "*"
    label: str = "*"
    tensor: str = "*"
    reason: str = "given with --limits"


class _LimitsFile(msgspec.Struct, forbid_unknown_fields=True):
    limit: list[_Row]
