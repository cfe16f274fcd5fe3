"""Single operators by name, in JAX: value, and derivatives by jax.grad. May import jax only."""

from collections.abc import Callable

import jax


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a: (n, k), b: (k, m) -> a @ b: (n, m)."""
    return a @ b


OPERATORS: dict[str, Callable[..., jax.Array]] = {"matmul": matmul}


def value_and_derivatives(name: str, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Value of the operator, then the derivative of its elements' sum by each argument.

    Raises ValueError for an unknown name.
    """
    if name not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")

    def total(*arguments: jax.Array) -> tuple[jax.Array, jax.Array]:
        value = OPERATORS[name](*arguments)
        return value.sum(), value

    derive = jax.value_and_grad(total, argnums=tuple(range(len(arrays))), has_aux=True)
    (_, value), derivatives = jax.jit(derive)(*arrays)
    return value, *derivatives
