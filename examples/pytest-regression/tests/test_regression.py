"""What holds the library's engines together: each computes what the float64 reference does.

`backend`, `trainer`, `reference` and `assert_agrees` come with framework-harness. Every test runs
once for each engine, in a process of its own: no framework is imported here.
"""

import pytest


@pytest.mark.parametrize("trainer", ["float32", "float64"], indirect=True)
@pytest.mark.parametrize("rows", [256, 7])
def test_gradients_are_the_references(trainer, reference, assert_agrees, rows):
    state, batch = reference.initial(), reference.batch(rows)
    trainer.set_state(state)
    loss, grads = trainer.loss_and_grads(trainer.put(batch))
    want = reference.look(state, batch)
    assert_agrees(loss, want.loss, rung="loss", dtype=trainer.dtype)
    assert_agrees(grads, want.grads, rung="gradients", dtype=trainer.dtype)


def test_a_step_is_the_references(trainer, reference, assert_agrees):
    state, batch = reference.initial(), reference.batch()
    trainer.set_state(state)
    trainer.wait(trainer.step(trainer.put(batch)))
    want = reference.step(state, batch)
    assert_agrees(trainer.get_state(), want, rung="update", before=state)


def test_training_is_the_references_on_every_rung(backend, assert_agrees):
    assert_agrees(backend)
