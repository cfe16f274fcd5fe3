"""What runs inside a framework's process: a small server with a few commands.

It holds one backend and one trainer and does what the parent asks, one command at a time. It
judges nothing. Imports NumPy, msgspec, safetensors and the one backend it was asked for.
"""

from __future__ import annotations

import gc
import hashlib
import itertools
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_info

from harness.interface import (
    Array,
    Backend,
    NoFloat64,
    Params,
    RunsMany,
    Trainer,
    Unavailable,
    Workload,
)
from harness.tensors import load_tensors, save_tensors
from harness.text import plain, plain_facts
from harness.workers.channel import receive, send
from harness.workers.loading import load, load_file
from harness.workers.provider import Provider
from harness.workers.remote import Served

# Progress goes out at most so often: enough for a smooth bar, too seldom to disturb a step.
PROGRESS_INTERVAL_NS = 200_000_000
EVALUATION_ROWS = 10_000

clock = time.perf_counter_ns


class Server:
    """The worker's state: backend, trainer, mapped data. Every public method is a command."""

    def __init__(self, started_ns: int, progress: Callable[[int, int], None]) -> None:
        self._started_ns = started_ns
        self._progress = progress
        self._backend: Backend
        self._built: Backend
        self._pristine: Pristine
        self._trainer: Trainer
        self._provider: Provider
        self._workload: Workload
        self._x: Array
        self._y: Array
        self._test: list[Any] = []
        self._test_x: Array
        self._test_y: Array
        self._gathered: dict[int, Array] = {}
        self._dtype = np.dtype(np.float32)
        self._threads = 1
        self._first_step_ns: dict[str, int] = {}
        self._schedules: dict[str, tuple[Array, Array]] = {}
        self._products: Callable[[], None] | None = None
        self._subject: Any = None
        self._served: Served | None = None

    # Every command takes the fields of its message by name and returns the fields of the reply.

    def start(
        self,
        source: str,
        device: str,
        dtype: str,
        threads: int,
        variant: str,
        workload: dict[str, Any],
        plant: str | None,
        memory_headroom: int | None,
        precision: str = "strict",
    ) -> dict[str, Any]:
        """Load the backend, build it and its trainer; a fault to plant comes as FILE:FUNCTION."""
        backend = load(source)
        import_ns = clock() - self._started_ns
        self._backend = backend(device, dtype, threads, variant, precision)
        self._dtype = np.dtype(dtype)
        self._threads = threads
        self._built = self._backend
        self._pristine = Pristine(self._backend)
        if plant is not None:
            self._plant(plant)
        facts = plain_facts({"python": sys.version.split()[0]} | self._backend.facts())
        before = clock()
        self._workload = msgspec.convert(workload, Workload)
        self._trainer = self._backend.trainer(self._workload)
        build_ns = clock() - before
        if memory_headroom is not None:
            # After import: some frameworks need more address space than that just to start.
            limit = _address_space() + memory_headroom
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return {"facts": facts, "import_ns": import_ns, "build_ns": build_ns}

    def plant(self, plant: str | None) -> dict[str, Any]:
        """Undo what was planted, plant a fault (or none), and build a new trainer."""
        self._trainer.close()
        self._backend = self._built
        self._pristine.restore()
        if plant is not None:
            self._plant(plant)
        self._trainer = self._backend.trainer(self._workload)
        self._products = None
        self._test = []
        return {}

    def workload(self, workload: dict[str, Any]) -> dict[str, Any]:
        """Train another workload from here on: a new trainer, and nothing left of the one before.

        `build_ns`: what building that trainer took.
        """
        self._trainer.close()
        self._products, self._test, self._gathered, self._first_step_ns = None, [], {}, {}
        gc.unfreeze()  # a block freezes what lives: the old trainer's cycles would stay for ever
        gc.collect()
        before = clock()
        self._workload = msgspec.convert(workload, Workload)
        self._trainer = self._backend.trainer(self._workload)
        return {"build_ns": clock() - before}

    def provide(self, source: str) -> dict[str, Any]:
        """Load a plug-in workload and describe it (see `workloads/provider.py`)."""
        self._provider = Provider(source)
        return self._provider.describe()

    def provided(self, **words: Any) -> dict[str, Any]:
        """Ask its reference."""
        return self._provider.ask(**words)

    def probes(self, **words: Any) -> dict[str, Any]:
        """Ask for its made batches."""
        return self._provider.probes(**words)

    def _plant(self, plant: str) -> None:
        file, _, function = plant.rpartition(":")
        self._backend = getattr(load_file(file), function)(self._backend) or self._backend

    def data(self, train_x: str, train_y: str, test_x: str, test_y: str) -> dict[str, Any]:
        """Map the data: pixels float32 (n, inputs), labels int64 (n,)."""
        self._x, self._y, self._test_x, self._test_y = (
            np.asarray(np.load(path, mmap_mode="r")) for path in (train_x, train_y, test_x, test_y)
        )
        self._gathered = {}
        return {}

    def case(self, params: str, batch: str, out: str) -> dict[str, Any]:
        """One teacher-forced batch: what is held, logits, loss, gradients, and one update."""
        trainer = self._trainer
        trainer.set_params(load_tensors(params))
        given = load_tensors(batch)
        if "rows" in given:
            given = {"x": self._x[given["rows"]], "y": self._y[given["rows"]]}
        data = trainer.put(given["x"].astype(self._dtype), given["y"])
        x, y = trainer.fetch(data)
        tensors = {"x": x, "y": y, "logits": trainer.logits(data)}
        tensors |= {f"held.{name}": value for name, value in trainer.get_params().items()}
        loss, grads = trainer.loss_and_grads(data)
        tensors |= {f"grad.{name}": value for name, value in grads.items()}
        tensors["loss"] = np.array(loss, dtype=np.float64)
        tensors["step loss"] = np.array(self._step(data, len(given["y"])), dtype=np.float64)
        tensors |= {f"new.{name}": value for name, value in trainer.get_params().items()}
        save_tensors(out, tensors)
        return {}

    def _step(self, batch: Any, rows: int) -> float:
        """One step, finished; the first of each batch size is kept: compilation shows there."""
        before = clock()
        loss = self._trainer.wait(self._trainer.step(batch))
        self._first_step_ns.setdefault(str(rows), clock() - before)
        return loss

    def train(
        self,
        params: str,
        schedule: str,
        snapshots: list[int],
        evaluations: list[int],
        at_once: int,
        out: str,
    ) -> dict[str, Any]:
        """Train freely from `params` through a schedule (see `_schedule`).

        After each step in `snapshots` the parameters go to out/params-<step>, after each in
        `evaluations` the test set's logits to out/logits-<step>; the series to out/series.
        `step_ns`: step and wait; `epoch_ns`: the loop between evaluations, gather and put included,
        saving and telling left out.
        A trainer with `run` makes `at_once` full steps at once wherever none of them is looked at.
        """
        trainer, size = self._trainer, self._workload.batch_size
        trainer.set_params(load_tensors(params))
        orders, slots = self._schedule(schedule)
        losses, step_ns, epoch_ns, eval_ns = [], [], [], []
        gather_ns, put_ns = [], []
        save_after, evaluate_after = set(snapshots), set(evaluations)
        full = (slots[:, 2] - slots[:, 1] == size).tolist()
        at_once = at_once if isinstance(trainer, RunsMany) else 1
        groups = _groups(full, save_after | evaluate_after, at_once)
        places = slots.tolist()
        last_report = epoch_started = clock()
        for group in groups:
            batches = []
            for number in group:
                epoch, start, stop = places[number]
                t0 = clock()
                x, y = self._gather(orders[epoch, start:stop])
                t1 = clock()
                batches.append(trainer.put(x, y))
                gather_ns.append(t1 - t0)
                put_ns.append(clock() - t1)
            before = clock()
            if len(group) > 1:
                losses += self._run(batches)
            else:
                losses.append(self._step(batches[0], stop - start))
            after = clock()
            step_ns += _shared(after - before, len(group))
            number = group[-1]
            if number in evaluate_after:
                epoch_ns.append(after - epoch_started)
                epoch_started = after
                save_tensors(f"{out}/logits-{number}", {"logits": self._evaluate()})
                eval_ns.append(clock() - after)
            if number in save_after:
                save_tensors(f"{out}/params-{number}", trainer.get_params())
            if after - last_report > PROGRESS_INTERVAL_NS:
                self._progress(number + 1, len(slots))
                last_report = clock()
            epoch_started += clock() - after  # what is looked at between steps is no training
        series = {
            "losses": np.array(losses, dtype=np.float64),
            "step_ns": np.array(step_ns, dtype=np.int64),
            "gather_ns": np.array(gather_ns, dtype=np.int64),
            "put_ns": np.array(put_ns, dtype=np.int64),
            "epoch_ns": np.array(epoch_ns, dtype=np.int64),
            "eval_ns": np.array(eval_ns, dtype=np.int64),
        }
        final = {f"final.{name}": value for name, value in trainer.get_params().items()}
        save_tensors(f"{out}/series", series | final)
        return {}

    def _run(self, batches: list[Any]) -> list[float]:
        """Many full steps as one call, finished; the first call is kept, as a first step is."""
        assert isinstance(self._trainer, RunsMany)
        before = clock()
        losses = self._trainer.run(batches)
        size = f"{self._workload.batch_size} x {len(batches)}"
        self._first_step_ns.setdefault(size, clock() - before)
        return losses

    def _schedule(self, path: str) -> tuple[Array, Array]:
        """Orders int64 (epochs, samples) and slots int64 (steps, 3): epoch, start, stop."""
        if path not in self._schedules:
            given = load_tensors(path)
            self._schedules = {path: (given["order"], given["slots"])}
        return self._schedules[path]

    def _gather(self, rows: Array) -> tuple[Array, Array]:
        """Pixels in the process's dtype and labels of these rows, valid until the next call.

        A fresh array of 0.8 MB costs twice as much: the system hands out its pages one by one.
        """
        x = self._gathered.get(len(rows))
        if x is None:
            x = self._gathered[len(rows)] = np.empty((len(rows), *self._x.shape[1:]), self._x.dtype)
        # "clip" writes straight to `out`; "raise" would go through an array in between.
        np.take(self._x, rows, axis=0, out=x, mode="clip")
        return x.astype(self._dtype, copy=False), self._y[rows]

    def _evaluate(self) -> Array:
        """Logits of the whole test set, float (n, outputs); its batches stay on the device."""
        if not self._test:
            for start in range(0, len(self._test_x), EVALUATION_ROWS):
                rows = slice(start, start + EVALUATION_ROWS)
                x = np.array(self._test_x[rows], dtype=self._dtype)
                self._test.append(self._trainer.put(x, np.array(self._test_y[rows])))
        return np.concatenate([self._trainer.logits(batch) for batch in self._test])

    def block(
        self,
        params: str,
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
        see `record.Round` for what is told. A trainer with `run` takes `steps` steps at once.
        With `replay` the same steps are then done again from the start, each call on batches put
        afresh and finished before the next: `digest` of the timed parameters, `replayed` of those.
        """
        trainer, size = self._trainer, self._workload.batch_size
        trainer.set_params(load_tensors(params))
        rows = self._schedule(schedule)[0][0]
        floor = self._floor()
        gather_ns, put_ns, products_ns, burst_ns, batches = [], [], [], [], []
        at_once = steps if isinstance(trainer, RunsMany) else 1
        warmup_steps += -warmup_steps % at_once
        gc.collect()
        gc.disable()
        try:
            for number in range(first, first + steps):
                t0 = clock()
                x, y = self._gather(rows[number * size : (number + 1) * size])
                t1 = clock()
                batches.append(trainer.put(x, y))
                t2 = clock()
                gather_ns.append(t1 - t0)
                put_ns.append(t2 - t1)
            warmup_ns = self._timed([*_cycled(batches, warmup_steps)], at_once)
            cpu_before = time.process_time_ns()
            step_ns = self._timed(batches, at_once)
            cpu_ns = time.process_time_ns() - cpu_before
            t0 = clock()
            timed = trainer.get_params()
            t1 = clock()
            trainer.get_params()
            drain_ns = [t1 - t0, clock() - t1]
            for _ in range(products):
                t0 = clock()
                floor()
                products_ns.append(clock() - t0)
            if burst_steps:
                burst_steps = max(burst_steps, at_once)
                # The first step after the products takes up to a step longer: their operands are
                # in the caches. It would make K steps look dearer than half of 2K.
                self._timed(batches[:at_once], at_once)
                burst_ns = [
                    self._burst([*_cycled(batches, count)], at_once)
                    for count in (burst_steps, 2 * burst_steps)
                ]
        finally:
            gc.enable()
        digests: dict[str, Any] = {"digest": None, "replayed": None}
        if replay:
            trainer.set_params(load_tensors(params))
            order = range(first, first + steps)
            again = [*_cycled(order, warmup_steps), *order]
            for start in range(0, len(again), at_once):
                fresh = [
                    trainer.put(*self._gather(rows[number * size : (number + 1) * size]))
                    for number in again[start : start + at_once]
                ]
                self._timed(fresh, at_once)
                trainer.get_params()
            digests = {"digest": _digest(timed), "replayed": _digest(trainer.get_params())}
        return digests | {
            "at_once": at_once,
            "gather_ns": gather_ns,
            "put_ns": put_ns,
            "warmup_ns": warmup_ns,
            "step_ns": step_ns,
            "cpu_ns": cpu_ns,
            "drain_ns": drain_ns,
            "products_ns": products_ns,
            "burst_steps": burst_steps,
            "burst_ns": burst_ns,
        }

    def _floor(self) -> Callable[[], None]:
        """The workload's matrix products, compiled."""
        if self._products is None:
            self._products = self._backend.products(_product_operands(self._workload, self._dtype))
            self._products()
            # What lives now stays: without this each block's collection would walk all of it
            # (0.1 s in TensorFlow).
            gc.collect()
            gc.freeze()
        return self._products

    def threads(self, products: int) -> dict[str, Any]:
        """Thread libraries loaded here, and processor time while the products are computed.

        `products` times, after a tenth of it unmeasured; `cpu_ns` is of all this process's threads.
        """
        floor = self._floor()
        for _ in range(products // 10):
            floor()
        products_ns = []
        cpu_before, before = time.process_time_ns(), clock()
        for _ in range(products):
            t0 = clock()
            floor()
            products_ns.append(clock() - t0)
        wall_ns, cpu_ns = clock() - before, time.process_time_ns() - cpu_before
        return {
            "libraries": threadpool_info(),
            "products_ns": products_ns,
            "cpu_ns": cpu_ns,
            "wall_ns": wall_ns,
        }

    def _timed(self, batches: list[Any], at_once: int) -> list[int]:
        """Nanoseconds of each step and its wait; of `at_once` steps made as one, their mean."""
        found = []
        for start in range(0, len(batches), at_once):
            t0 = clock()
            if at_once > 1:
                self._run(batches[start : start + at_once])
            else:
                self._step(batches[start], self._workload.batch_size)
            found.append((clock() - t0) // at_once)
        return found

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

    def roof(self, size: int, copy_bytes: int) -> dict[str, Any]:
        """The best of this process: FLOP/s in a size x size product, bytes/s in a copy.

        A copy of `copy_bytes` (0: none) by as many threads as the plan has; read and written bytes
        both count.
        """
        square = np.random.default_rng(0).standard_normal((size, size)).astype(self._dtype)
        product = self._backend.products([(square, square)])
        product()
        found: dict[str, Any] = {"flop_per_s": 2 * size**3 / _quickest(product, 3) * 1e9}
        if copy_bytes:
            words = copy_bytes // 8 // self._threads
            pairs = [(np.ones(words), np.zeros(words)) for _ in range(self._threads)]
            with ThreadPoolExecutor(self._threads) as pool:
                ns = _quickest(lambda: [*pool.map(lambda pair: np.copyto(*pair), pairs)], 5)
            found["copy_bytes_per_s"] = 2 * 8 * words * self._threads / ns * 1e9
        return found

    def op(self, name: str, arguments: str, out: str) -> dict[str, Any]:
        """One operator: arguments "0", "1", ... and perhaps "weights" from a file.

        Value and derivatives go to a file as "0", "1", ...; `absent` is the reason where the
        framework does not have the operator, else None.
        """
        given = load_tensors(arguments)
        weights = given.pop("weights", None)
        arrays = [given[str(i)] for i in range(len(given))]
        try:
            found = self._backend.op(name, *arrays, weights=weights)
        except Unavailable as error:
            return {"absent": _describe(error)}
        save_tensors(out, {str(i): value for i, value in enumerate(found)})
        return {"absent": None}

    def certify(self, check: str, processors: list[int]) -> dict[str, Any]:
        """One check of the conformance kit on this process's backend; see `conformance.serve`.

        processors: those that the parent may use, of which this process has as many as threads.
        """
        from harness.conformance import Subject, serve

        if self._subject is None:
            self._subject = Subject(
                self._backend,
                dtype=str(self._dtype),
                threads=self._threads,
                processors=processors,
            )
        return serve.answer(self._subject, check)

    def remote(self, **fields: Any) -> dict[str, Any]:
        """One call of a trainer's method from afar; see `remote.Served.call`."""
        if self._served is None:
            self._served = Served(self._backend)
        return self._served.call(**fields)

    def usage(self) -> dict[str, Any]:
        """Peak memory in bytes, the host's and the device's; each batch size's first step."""
        return {
            "peak_rss_bytes": _peak_memory(),
            "peak_device_bytes": self._built.peak_device_bytes(),
            "first_step_ns": self._first_step_ns,
        }

    def close(self) -> dict[str, Any]:
        """Give back what the trainer holds."""
        self._trainer.close()
        return {}


def _groups(full: list[bool], looked_at: set[int], at_once: int) -> list[range]:
    """The steps of a schedule in order, `at_once` together where all are full batches.

    Nobody looks at the parameters between steps that are made as one.
    """
    groups, number = [], 0
    while number < len(full):
        many = range(number, number + at_once)
        possible = (
            at_once > 1
            and len(full[number : many.stop]) == at_once
            and all(full[number : many.stop])
            and not looked_at & {*many[:-1]}
        )
        groups.append(many if possible else range(number, number + 1))
        number = groups[-1].stop
    return groups


def _shared(total: int, parts: int) -> list[int]:
    """A whole number in so many parts, as equal as can be, that add up to it."""
    return [total // parts + (place < total % parts) for place in range(parts)]


def _cycled(items: Iterable[Any], count: int) -> Iterator[Any]:
    """The first `count` of the items repeated without end."""
    return itertools.islice(itertools.cycle(items), count)


def _quickest(work: Callable[[], Any], times: int) -> int:
    """The shortest of so many calls, nanoseconds."""
    found = []
    for _ in range(times):
        before = clock()
        work()
        found.append(clock() - before)
    return min(found)


def _digest(params: Params) -> str:
    """SHA-256 (hex) of all parameters' bytes, by name."""
    found = hashlib.sha256()
    for name in sorted(params):
        found.update(np.ascontiguousarray(params[name]).tobytes())
    return found.hexdigest()


def _product_operands(workload: Workload, dtype: np.dtype[Any]) -> list[tuple[Array, Array]]:
    """Operands of the workload's matrix products, filled with standard normal numbers."""
    rng = np.random.default_rng(0)
    pairs = []
    for product in workload.products:
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in (product.a, product.b))
        if product.transposed == "a":
            a = a.T
        if product.transposed == "b":
            b = b.T
        pairs.append((a, b))
    return pairs


class Pristine:
    """What a planted fault may change, as it was before.

    That is: attributes of this project's modules and the backend's, of the classes in them, and of
    the backend.
    """

    def __init__(self, backend: Backend) -> None:
        own = {"backends", "harness", type(backend).__module__.partition(".")[0]}
        modules = [
            module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in own and module is not None
        ]
        classes = [
            value
            for module in modules
            for value in vars(module).values()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        self._kept = [(thing, dict(vars(thing))) for thing in (backend, *modules, *classes)]

    def restore(self) -> None:
        """Put every attribute back that was changed, added or removed."""
        for thing, kept in self._kept:
            for name in set(vars(thing)) - set(kept):
                delattr(thing, name)
            for name, value in kept.items():
                if vars(thing).get(name, self) is not value:
                    setattr(thing, name, value)


def _peak_memory() -> int:
    """Most bytes this process has held in memory so far."""
    try:
        # Not ru_maxrss: across fork and exec that keeps the parent's peak.
        with open("/proc/self/status") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # bytes there, kilobytes elsewhere


def _address_space() -> int:
    """Bytes of address space this process holds now (Linux; 0 where /proc is missing)."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def serve(commands: int, replies: int, run: str, started_ns: int) -> None:
    """Answer commands until the parent closes the channel. Every reply names the run."""
    encode = msgspec.json.encode
    current = 0

    def progress(done: int, total: int) -> None:
        send(replies, encode({"run": run, "id": current, "progress": [done, total]}))

    server = Server(started_ns, progress)
    while (message := receive(commands)) is not None:
        command = msgspec.json.decode(message)
        current = command.pop("id")
        name = command.pop("do")
        answered = {"run": run, "id": current}
        try:
            answer = encode(answered | {"ok": getattr(server, name)(**command)})
        except (Unavailable, ImportError) as error:
            unavailable = name in ("start", "provide")
            without = isinstance(error, NoFloat64)
            told = {"error": _describe(error), "unavailable": unavailable, "no_float64": without}
            answer = encode(answered | told)
        except BaseException as error:  # whatever a backend raises, SystemExit too, is the answer
            import traceback

            traceback.print_exc()
            answer = encode(answered | {"error": _describe(error)})
        send(replies, answer)


def _describe(error: BaseException) -> str:
    """One line: the kind of error and the first line of its text."""
    try:
        text = plain((str(error).strip().splitlines() or [""])[0], 500)
    except Exception:  # an error of a plug-in may have no words for itself
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
