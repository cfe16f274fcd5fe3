"""The desk that a run opens: training, and blocks of timed steps."""

from __future__ import annotations

import gc
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from harness.interface import Array, RunsMany, State, Workload
from harness.tensors import load_tensors
from harness.workers.desks.backend import clock
from harness.workers.desks.training import TrainingDesk


class TimingDesk(TrainingDesk):
    """Times steps, the matrix products below them, and what the machine gives a process."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        super().__init__(started_ns, progress)
        self._products: Callable[[], None] | None = None

    def _forget(self) -> None:
        super()._forget()
        self._products = None

    def block(
        self,
        state: str,
        schedule: str,
        first: int,
        warmup_steps: int,
        steps: int,
        products: int,
        replay: bool,
        burst_steps: int = 0,
    ) -> dict[str, Any]:
        """One timing block: full batches gathered, put, then stepped and waited for.

        First `warmup_steps` steps on the same batches, reported apart; then `steps` steps; then
        the floor: the workload's matrix products, `products` times; then, where `burst_steps` are
        asked for, so many steps with one wait at the end, and twice as many. All in nanoseconds;
        see `schema.Round` for what is told. A trainer with `run` takes `steps` steps at once.
        With `replay` the same steps are then done again from the start, each call on batches put
        afresh and finished before the next: `digest` of the timed parameters, `replayed` of those.
        """
        trainer = self._trainer
        trainer.set_state(load_tensors(state))
        floor = self._floor()
        numbers = range(first, first + steps)
        at_once = steps if isinstance(trainer, RunsMany) else 1
        warmup_steps += -warmup_steps % at_once
        times: dict[str, list[int]] = {"gather_ns": [], "put_ns": [], "burst_ns": []}
        with _uncollected():
            batches = [
                self._put(schedule, number, self._full(schedule, number), times)
                for number in numbers
            ]
            times["warmup_ns"] = self._timed([*cycled(batches, warmup_steps)], at_once)
            cpu_before = time.process_time_ns()
            times["step_ns"] = self._timed(batches, at_once)
            cpu_ns = time.process_time_ns() - cpu_before
            t0 = clock()
            timed = trainer.get_state()
            t1 = clock()
            trainer.get_state()
            times["drain_ns"] = [t1 - t0, clock() - t1]
            times["products_ns"] = _each(floor, products)
            if burst_steps:
                burst_steps = max(burst_steps, at_once)
                # The first step after the products takes up to a step longer: their operands are
                # in the caches. It would make K steps look dearer than half of 2K.
                self._timed(batches[:at_once], at_once)
                times["burst_ns"] = [
                    self._burst([*cycled(batches, count)], at_once)
                    for count in (burst_steps, 2 * burst_steps)
                ]
        digests: dict[str, Any] = {"digest": None, "replayed": None}
        if replay:
            again = [*cycled(numbers, warmup_steps), *numbers]
            replayed = self._replayed(state, schedule, again, at_once)
            digests = {"digest": _digest(timed), "replayed": _digest(replayed)}
        counts = {"at_once": at_once, "cpu_ns": cpu_ns, "burst_steps": burst_steps}
        return digests | counts | times

    def _full(self, schedule: str, number: int) -> Array:
        """The rows of a full batch of the schedule's first epoch, counted round and round."""
        size = self._batch_size
        order: Array = self._schedule(schedule)[0][0]
        place = number % (len(order) // size)
        return order[place * size : (place + 1) * size]

    def _replayed(self, state: str, schedule: str, numbers: list[int], at_once: int) -> State:
        """The state after the same steps, each call finished before the next one's `put`."""
        self._trainer.set_state(load_tensors(state))
        for start in range(0, len(numbers), at_once):
            fresh = [
                self._trainer.put(self._gather(schedule, number, self._full(schedule, number)))
                for number in numbers[start : start + at_once]
            ]
            self._timed(fresh, at_once)
            self._trainer.get_state()
        return self._trainer.get_state()

    def _floor(self) -> Callable[[], None]:
        """The workload's matrix products, compiled."""
        if self._products is None:
            self._products = self._backend.products(product_operands(self._workload, self._dtype))
            self._products()
            # What lives now stays: without this each block's collection would walk all of it
            # (0.1 s in TensorFlow).
            gc.collect()
            gc.freeze()
        return self._products

    def _timed(self, batches: list[Any], at_once: int) -> list[int]:
        """Nanoseconds of each step and its wait; of `at_once` steps made as one, their mean."""
        times = []
        for start in range(0, len(batches), at_once):
            t0 = clock()
            if at_once > 1:
                self._run(batches[start : start + at_once])
            else:
                self._step(batches[start], self._batch_size)
            times.append((clock() - t0) // at_once)
        return times

    def _burst(self, batches: list[Any], at_once: int) -> int:
        """Nanoseconds of all these steps, queued one after the other, with one wait at the end."""
        trainer = self._trainer
        t0 = clock()
        if at_once > 1:
            for start in range(0, len(batches), at_once):
                self._run(batches[start : start + at_once])
        else:
            for batch in batches:
                loss = trainer.step(batch)
            trainer.wait(loss)
        return clock() - t0

    def threads(self, products: int) -> dict[str, Any]:
        """Thread libraries loaded here, and processor time while the products are computed.

        `products` times, after a tenth of it unmeasured; `cpu_ns` is of all this process's threads.
        """
        floor = self._floor()
        _each(floor, products // 10)
        cpu_before, before = time.process_time_ns(), clock()
        products_ns = _each(floor, products)
        wall_ns, cpu_ns = clock() - before, time.process_time_ns() - cpu_before
        return {
            "libraries": threadpool_info(),
            "products_ns": products_ns,
            "cpu_ns": cpu_ns,
            "wall_ns": wall_ns,
        }

    def roof(self, size: int, copy_bytes: int) -> dict[str, Any]:
        """The best of this process: FLOP/s in a size x size product, bytes/s in a copy.

        A copy of `copy_bytes` (0: none) by as many threads as the plan has; read and written bytes
        both count.
        """
        square = np.random.default_rng(0).standard_normal((size, size)).astype(self._dtype)
        product = self._backend.products([(square, square)])
        product()
        best: dict[str, Any] = {"flop_per_s": 2 * size**3 / min(_each(product, 3)) * 1e9}
        if copy_bytes:
            words = copy_bytes // 8 // self._threads
            pairs = [(np.ones(words), np.zeros(words)) for _ in range(self._threads)]
            with ThreadPoolExecutor(self._threads) as pool:
                ns = min(_each(lambda: [*pool.map(lambda pair: np.copyto(*pair), pairs)], 5))
            best["copy_bytes_per_s"] = 2 * 8 * words * self._threads / ns * 1e9
        return best


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is collected within; all there is, before."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def cycled(items: Iterable[Any], count: int) -> Iterator[Any]:
    """The first `count` of the items repeated without end."""
    return itertools.islice(itertools.cycle(items), count)


def _each(work: Callable[[], Any], times: int) -> list[int]:
    """Nanoseconds of each of so many calls."""
    ns = []
    for _ in range(times):
        before = clock()
        work()
        ns.append(clock() - before)
    return ns


def _digest(state: State) -> str:
    """SHA-256 (hex) of a state's bytes, by name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(np.ascontiguousarray(state[name]).tobytes())
    return digest.hexdigest()


def product_operands(workload: Workload, dtype: np.dtype[Any]) -> list[tuple[Array, Array]]:
    """Operands of the products of the workload's floor, filled with standard normal numbers."""
    rng = np.random.default_rng(0)
    pairs = []
    for product in workload.floor:
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in (product.a, product.b))
        if product.transposed == "a":
            a = a.T
        if product.transposed == "b":
            b = b.T
        pairs.append((a, b))
    return pairs
