"""Every hypothesis, in the order in which they are asked."""

from harness.explain import anywhere, forward, gradients, lockstep, loss, modes, update

TABLE = (
    *anywhere.TABLE,
    *forward.TABLE,
    *modes.TABLE,
    *loss.TABLE,
    *gradients.TABLE,
    *update.TABLE,
    *lockstep.TABLE,
)
