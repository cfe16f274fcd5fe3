"""Known answers of the shared code, checked at the start of every session.

Initial parameters, batch order, schedule, pixels, metrics made samples and the choice of
rows that are trained on and evaluated on are the same for every backend, so no comparison between
backends can see a mistake in them.
Here they are pinned: digests by an independent program, and small cases worked out by hand.
Imports NumPy; no framework.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from harness import data
from harness.data import Dataset
from harness.interface import Array, Tensor
from harness.measure import outcome
from harness.record.schema import KnownAnswer
from harness.workloads import DEFAULT, WORKLOADS
from harness.workloads.reference import canonical
from harness.workloads.reference.canonical import digest

# SHA-256 of little-endian C-order bytes, seed 0 (NumPy does not promise that streams never change).
DIGESTS = {
    "W1, seed 0": "5a7d335e00a14db5c460998e39103ffc804f3139d2abfcf1efdcd7722c6d71ed",
    "W2, seed 0": "bb963fc2beea396c19a55a0a53e6a0385bdee0c73ccd1f030dc3bbe29f605ad7",
    "K1, seed 0": "4aa421f3dbfdfce30820e91d643c55a8ef491a87b4ce658927543a74847a838f",
    "c1, seed 0": "50fce2bd8d960826b39b5e3c97d445888ac566af07de0e916e114da3e37bc30c",
    "order, seed 0, epoch 0": "0445a5ae5f8ab8aa12ff81a80afdafa963112b1c166e9ae02dc4856815d7f05c",
    "order, seed 0, epoch 9": "332278fd90b81e797c4b85efad9702f2b9a5bf69606b9df78770cfe5c5620f4f",
    "line's x, seed 0": "4989cd0d50cd6d4736bb7796bbaa0d8d7d5a6215fd0ec03158f3c4511258c4b2",
    "line's y, seed 0": "4bc8eea600b338dd544debe901f927766dab5ab9824af30d2038f8caf383c11c",
}
# Two laws of how tensors start, drawn one after another.
NORMAL = (
    Tensor("W1", (784, 256), init="normal", scale=0.01),
    Tensor("b1", (256,)),
    Tensor("W2", (256, 10), init="normal", scale=0.01),
    Tensor("b2", (10,)),
)
UNIFORM = tuple(
    Tensor(name, shape, init="uniform", scale=1 / math.sqrt(75))
    for name, shape in (("K1", (5, 5, 3, 6)), ("c1", (6,)))
)
# Of all 256 pixel values, as float32 in [0, 1]: v / 255 rounded once.
PIXELS_DIGEST = "141e0af15774187c00b2bbb8706b5cf613a1e1a168fd4e14ad8e3470f3956330"


def check_shared_code() -> list[KnownAnswer]:
    """Every pinned answer that needs no data set, as (name, want, got)."""
    state = canonical.drawn(NORMAL, 0) | canonical.drawn(UNIFORM, 0)
    line = data.load("line", warn=print)
    got = {
        **{f"{name}, seed 0": digest(state[name]) for name in ("W1", "W2", "K1", "c1")},
        "order, seed 0, epoch 0": digest(canonical.epoch_order(0, 0, 60_000).astype(np.int64)),
        "order, seed 0, epoch 9": digest(canonical.epoch_order(0, 9, 60_000).astype(np.int64)),
        "line's x, seed 0": digest(line.train_x),
        "line's y, seed 0": digest(line.train_y),
    }
    answers = [KnownAnswer(name=name, want=DIGESTS[name], got=got[name]) for name in DIGESTS]

    def pin(name: str, want: object, value: object) -> None:
        answers.append(KnownAnswer(name=name, want=str(want), got=str(value)))

    pin("biases start at 0", 0.0, float(np.abs(state["b1"]).max() + np.abs(state["b2"]).max()))
    every = np.resize(np.arange(256, dtype=np.uint8), (1, 28, 28))
    made = data.prepared(every, (784,), None)
    pin("pixels are v / 255 in float32", PIXELS_DIGEST, digest(made))

    slots = canonical.schedule(60_000, 256, 10)
    pin("ten epochs are 2350 steps", 2350, len(slots))
    pin("an epoch's last batch", "(0, 59904, 60000)", tuple(slots[234]))
    pin("the last batch of all", "(9, 59904, 60000)", tuple(slots[-1]))
    samples = [s.stop - s.start for s in slots]
    pin(
        "every sample once an epoch",
        [60_000] * 10,
        [sum(samples[e * 235 : e * 235 + 235]) for e in range(10)],
    )
    pin(
        "a mean over samples, not over batches",
        1.75,
        canonical.epoch_loss(np.array([1.0, 4.0]), np.array([3, 1])),
    )
    pin("accuracy over every row", "0.9984", canonical.accuracy(*_last_rows_wrong()))
    odd = outcome.largest(np.array([[np.nan, 0], [0, 1]]))
    pin("a row with NaN is wrong", 0.5, canonical.accuracy(odd, np.array([0, 1])))
    x, y = data.evaluation_set(_two_sets(), WORKLOADS[DEFAULT])
    pin("evaluation is on the test set's labels", "[7, 8]", y.tolist())
    pin("evaluation is on the test set's images", PIXELS_DIGEST, digest(x[:1]))
    holding_out = msgspec.structs.replace(WORKLOADS[DEFAULT], validation=1)
    _, trained = data.training_set(_two_sets(), holding_out)
    pin("the last rows are held out", "[1]", trained.tolist())
    _, y = data.evaluation_set(_two_sets(), holding_out)
    pin("what is held out is evaluated on too", "[7, 8, 2]", y.tolist())
    return answers


def check_data(
    dataset: Dataset, normalise: tuple[float, float] | None, train: Array, test: Array
) -> list[KnownAnswer]:
    """What was made of the official files' numbers; nothing is known of any other."""
    known = data.answers(dataset, normalise, train, test)
    return [KnownAnswer(name=name, want=want, got=got) for name, want, got in known]


def _last_rows_wrong() -> tuple[Array, Array]:
    """The classes of 10 000 rows of logits of which the last 16, and no others, are wrong."""
    labels = np.arange(10_000) % 10
    logits = np.eye(10)[labels]
    logits[-16:] = np.roll(logits[-16:], 1, axis=1)
    return outcome.largest(logits), labels


def _two_sets() -> Dataset:
    """A tiny data set whose training and test labels differ."""
    return Dataset(
        name="known",
        synthetic=True,
        sha256="",
        source="",
        train_x=np.zeros((2, 28, 28), np.uint8),
        train_y=np.array([1, 2], np.uint8),
        test_x=np.resize(np.arange(256, dtype=np.uint8), (1, 28, 28)).repeat(2, axis=0),
        test_y=np.array([7, 8], np.uint8),
        class_names=(),
    )
