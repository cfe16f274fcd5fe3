"""What holds the library's engines together: each computes what the float64 reference does.

`backend`, `trainer`, `reference` and `assert_agrees` come with framework-harness. Every test runs
once for each engine, in a process of its own: no framework is imported here.
"""

import pytest


@pytest.mark.parametrize("trainer", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("rows", [256, 7])
def test_gradients_are_the_references(trainer, reference, assert_agrees, rows):
    params = reference.initial()
    x, y = reference.batch(rows)
    trainer.set_params(params)
    loss, grads = trainer.loss_and_grads(trainer.put(x, y))
    want_loss, want_grads = reference.loss_and_grads(params, x, y)
    assert_agrees(loss, want_loss, rung="loss", dtype=trainer.dtype)
    assert_agrees(grads, want_grads, rung="gradients", dtype=trainer.dtype)


def test_a_step_is_the_references(trainer, reference, assert_agrees):
    params = reference.initial()
    x, y = reference.batch()
    trainer.set_params(params)
    trainer.wait(trainer.step(trainer.put(x, y)))
    want = reference.step(params, x, y)
    assert_agrees(trainer.get_params(), want, rung="update", before=params)


def test_training_is_the_references_on_every_rung(backend, assert_agrees):
    assert_agrees(backend)
