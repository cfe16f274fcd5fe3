"""The conformance kit: what every backend must do, as plain functions over one live backend.

`CHECKS` are in order: what later ones rely on comes first, so the first that fails says most.
Usable from a backend's own repository, in any process that may import its framework:

    from harness.conformance import CHECKS, Subject

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    def test_it_conforms(check):
        backend = Backend("cpu", "float64", 1, "default")
        check(Subject(backend, dtype="float64"))

`harness certify` runs them in workers, float32 and float64 (`harness/conformance/certify.py`).
Imports NumPy, msgspec, threadpoolctl and the harness's judge, measurements and limits; no
framework.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from harness.conformance import copying, numbers, operators, process, refusals, state, stepping
from harness.conformance.check import DTYPES, Evidence, Failed, NotPossible
from harness.conformance.subject import Subject

# Which kit a certificate was made with: it goes up when a check is added or made stricter.
KIT = "2"


@dataclass(frozen=True)
class Check:
    """One check: a function that takes a Subject and raises Failed or NotPossible, or returns.

    The first line of its docstring is a sentence: what must hold.
    """

    function: Callable[[Subject], Evidence]
    dtypes: tuple[str, ...] = DTYPES

    def __call__(self, subject: Subject) -> Evidence:
        """Check it; NotPossible in a dtype that it is not for."""
        if subject.dtype not in self.dtypes:
            raise NotPossible(f"checked in {', '.join(self.dtypes)} only")
        return self.function(subject)

    @property
    def name(self) -> str:
        """What the command line and a certificate call it."""
        return self.function.__name__.replace("_", "-")

    @property
    def sentence(self) -> str:
        """What must hold."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def __str__(self) -> str:
        return self.name


# What needs float64's digits, and what says the same of both and is asked once.
_FLOAT64, _ONCE = ("float64",), ("float32",)

CHECKS: tuple[Check, ...] = (
    Check(refusals.facts),
    Check(refusals.unknown_workload_refused),
    Check(refusals.bad_states_refused),
    Check(refusals.bad_batches_refused),
    Check(copying.dtype_kept),
    Check(copying.state_round_trip),
    Check(copying.batch_round_trip),
    Check(copying.inputs_unchanged),
    Check(state.set_state_is_whole),
    Check(state.looking_changes_nothing),
    Check(copying.callers_memory_copied),
    Check(copying.returned_arrays_fresh),
    Check(state.instances_independent),
    Check(numbers.outputs),
    Check(numbers.training_outputs),
    Check(numbers.trace),
    Check(numbers.loss),
    Check(numbers.finite_differences, _FLOAT64),
    Check(numbers.gradients),
    Check(numbers.update),
    Check(numbers.step_loss),
    Check(numbers.corner),
    Check(numbers.shifted),
    Check(numbers.confident),
    Check(numbers.far),
    Check(numbers.lockstep, _FLOAT64),
    Check(state.repeatable),
    Check(stepping.run),
    Check(stepping.loss_handles),
    Check(stepping.wait, _ONCE),
    Check(operators.matmul),
    Check(operators.products, _ONCE),
    Check(process.threads, _ONCE),
    Check(process.memory, _ONCE),
    Check(state.close, _ONCE),
    Check(process.clean_end),
)

__all__ = ["CHECKS", "DTYPES", "KIT", "Check", "Evidence", "Failed", "NotPossible", "Subject"]
