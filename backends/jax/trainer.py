"""The JAX trainer of any model: one jitted step with donated state, Flax, Optax, a room's file.

May import jax, flax, NumPy, what is beside it and, from the harness, `interface` only.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from backends import rooms
from backends.arguments import check_batch, check_state
from backends.jax import optimisers
from backends.jax.memory import lent, to_device
from backends.jax.optimisers import Arrays
from harness.interface import Array, State, Workload


class Batch(NamedTuple):
    """What a step reads: X as the model takes it, y (n, ...) or None, noise by name."""

    X: jax.Array
    y: jax.Array | None
    noise: Arrays

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the model is called with."""
        return (self.X, self.noise) if self.noise else (self.X,)


class Trainer:
    """A room's Net and loss with an Optax optimiser; holds the whole state by our names."""

    def __init__(self, backend: Any, workload: Workload) -> None:
        self.workload = workload
        self.device = backend.device
        self.dtype = backend.dtype
        room = self.room = rooms.find("jax", workload)
        self.model = room.Net(**workload.sizes)
        self.parts = rooms.layouts(room, ["x", "y", *(t.name for t in workload.noise)])
        self.objective, own = rooms.objective(room), workload.learnt
        self.layouts = rooms.layouts(room, [t.name for t in own])
        held = self._variables_of_net()
        shapes = {name: shape for name, (_, shape) in held.items()}
        rooms.check(f"jax: {workload.model}", self.layouts, own, shapes)
        # By our names: where it is among the Net's variables, and its shape there.
        self.places = {name: held[layout.name] for name, layout in self.layouts.items()}
        optimizer = optimisers.make(workload.optimiser)

        def step(state: Arrays, batch: Batch) -> tuple[Arrays, jax.Array]:
            (value, running), grads = self._value_and_grads(state, batch)
            new = optimisers.update(workload.optimiser, optimizer, state, grads)
            return {**state, **running, **new}, value

        def outputs(state: Arrays, batch: Batch, training: bool) -> jax.Array:
            return self._apply(state, batch, training)[0]

        self._step = jax.jit(step, donate_argnums=0)
        self._outputs = jax.jit(outputs, static_argnums=2)
        self._loss_and_grads = jax.jit(self._value_and_grads)
        self._trace = jax.jit(self._values)
        self.state: Arrays = {}

    def set_state(self, state: State) -> None:
        """Copy a whole state in. ValueError for wrong names or shapes."""
        check_state(state, self.workload)
        new = {}
        for name, value in state.items():
            _, shape = self.places.get(name.partition("/")[0], ((), ()))
            new[name] = to_device(self._layout(name).theirs(value, shape), self.dtype, self.device)
        self.state = new

    def get_state(self) -> State:
        """Fresh copies of the whole state."""
        return {
            t.name: self._layout(t.name).ours(np.array(self.state[t.name]), t.shape)
            for t in self.workload.tensors
        }

    def put(self, batch: State) -> Batch:
        """A batch in the model's layout; classes int32. ValueError for wrong names or shapes."""
        check_batch(batch, self.workload)
        dtypes = {"y": np.dtype(np.int32)} if self.workload.y == "class" else {}
        put = {
            name: lent(layout.put(batch[name]), dtypes.get(name, self.dtype), self.device)
            for name, layout in self.parts.items()
            if name in batch
        }
        return Batch(put.pop("x"), put.pop("y", None), put)

    def fetch(self, batch: Batch) -> State:
        """Fresh copies of what `put` stored; classes int64."""
        held = {"x": batch.X, "y": batch.y, **batch.noise}
        dtypes = {"y": np.int64} if self.workload.y == "class" else {}
        return {
            name: self.parts[name].fetch(np.array(array, dtypes.get(name)))
            for name, array in held.items()
            if array is not None
        }

    def step(self, batch: Batch) -> jax.Array:
        """One update, queued; the mean loss before it, still on the device."""
        self.state, value = self._step(self.state, batch)
        return value

    def wait(self, loss: jax.Array) -> float:
        """Block until the newest state is there; the mean loss in nats."""
        jax.block_until_ready(self.state)
        return float(loss)

    def outputs(self, batch: Batch, *, training: bool) -> Array:
        """Outputs (n, *outputs), fresh."""
        return np.array(self._outputs(self.state, batch, training))

    def loss_and_grads(self, batch: Batch) -> tuple[float, State]:
        """Mean loss in nats and fresh gradients; nothing is updated."""
        (value, _), grads = self._loss_and_grads(self.state, batch)
        trained = self.workload.trained
        return float(value), {
            t.name: self.layouts[t.name].ours(np.array(grads[t.name]), t.shape) for t in trained
        }

    def trace(self, batch: Batch) -> State:
        """What the room's `trace` gives, or the values of the submodules that its TRACE names."""
        return {name: np.array(value) for name, value in self._trace(self.state, batch).items()}

    def close(self) -> None:
        """Drop the state and the compiled functions."""
        del self.state, self._step, self._outputs, self._loss_and_grads, self._trace

    def _layout(self, name: str) -> rooms.Layout:
        """A tensor's; a slot lies as its parameter does."""
        return self.layouts.get(name.partition("/")[0], rooms.Layout(name))

    def _modes(self, *, training: bool) -> dict[str, bool]:
        return {"training": training} if self.workload.two_modes else {}

    def _variables_of_net(self) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
        """What the Net holds by its dotted names: collection and path, and shape."""
        w = self.workload
        shapes = {"x": w.x} | {t.name: t.shape for t in w.noise}
        empty = {n: self.parts[n].put(np.empty((1, *s), self.dtype)) for n, s in shapes.items()}
        inputs = Batch(empty.pop("x"), None, empty).inputs
        init = partial(self.model.init, **self._modes(training=True))
        found = flatten_dict(jax.eval_shape(init, jax.random.key(0), *inputs))
        return {".".join(path[1:]): (path, leaf.shape) for path, leaf in found.items()}

    def _variables(self, state: Arrays) -> dict[str, Any]:
        """What the model is applied to, by collection."""
        return unflatten_dict({path: state[name] for name, (path, _) in self.places.items()})

    def _apply(self, state: Arrays, batch: Batch, training: bool, **options: Any) -> Any:
        """The model's outputs, and what that changes, by collection."""
        variables = self._variables(state)
        mutable = [*variables.keys() - {"params"}, "intermediates"]
        modes = self._modes(training=training)
        return self.model.apply(variables, *batch.inputs, mutable=mutable, **options, **modes)

    def _value_and_grads(self, state: Arrays, batch: Batch) -> tuple[tuple[Any, Arrays], Arrays]:
        """The mean loss, the running tensors after the pass, and the gradients by our names."""

        def objective(params: Arrays) -> tuple[jax.Array, Arrays]:
            Y_hat, changed = self._apply({**state, **params}, batch, training=True)
            flat = flatten_dict(changed)
            places = self.places.items()
            running = {name: flat[path] for name, (path, _) in places if path in flat}
            own = self._variables({**state, **params}).get("params", {})
            return self.objective(own, Y_hat, batch.y), running

        params = {t.name: state[t.name] for t in self.workload.trained}
        return jax.value_and_grad(objective, has_aux=True)(params)

    def _values(self, state: Arrays, batch: Batch) -> Arrays:
        """The values on the way, in the canonical layout."""
        if hasattr(self.room, "trace"):
            return self.room.trace(self.model, self._variables(state), *batch.inputs)
        if not hasattr(self.room, "TRACE"):
            return {}
        outputs, changed = self._apply(state, batch, training=True, capture_intermediates=True)
        flat = flatten_dict(changed["intermediates"], sep=".")
        shown = {
            name: layout.fetch(flat[f"{layout.name}.__call__"][-1])
            for name, layout in rooms.layouts(self.room, [*self.room.TRACE], "TRACE").items()
        }
        return {**shown, self.workload.trace[-1]: outputs}
