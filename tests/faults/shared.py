"""Mistakes in the shared code, which no comparison between backends can see.

Each function takes the right one, which its parameter is called after, and returns the wrong one.
They are planted in the parent, in every module that imports the right one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness import data


def pixels_by_256(prepared):
    """Pixels are divided by 256, not 255."""

    def wrong(x, shape, normalise, out=None):
        found = prepared(x, shape, normalise, out)
        return np.multiply(found, np.float32(255 / 256), out=found)

    return wrong


def same_order_every_epoch(epoch_order):
    """Every epoch has the order of the first."""
    return lambda seed, epoch, n, size=1: epoch_order(seed, 0, n, size)


def batches_shuffled(epoch_order):
    """Whole batches are shuffled, not samples."""

    def wrong(seed, epoch, n, size=1):
        blocks = np.array_split(np.arange(n), range(256, n, 256))
        return np.concatenate([blocks[i] for i in epoch_order(seed, epoch, len(blocks))])

    return wrong


def accuracy_of_9984(accuracy):
    """The test set's last 16 samples are left out of the accuracy."""
    return lambda predicted, labels: accuracy(predicted[:9984], labels[:9984])


def accuracy_of_training(evaluation_set):
    """Accuracy is measured on the training set."""
    return lambda dataset, workload, out=None, most=None: data.training_set(dataset, workload, out)


def validation_trained_on(training_set):
    """What is held out for validation is trained on, in place of as many other rows."""

    def wrong(dataset, workload, out=None):
        moved = {
            name: np.roll(getattr(dataset, name), workload.validation, axis=0)
            for name in ("train_x", "train_y")
        }
        return training_set(replace(dataset, **moved), workload, out)

    return wrong


def made_of_another_seed(_made):
    """Samples that are made for a seed are those of the next one."""
    return lambda source, choice, seeds, steps: replace(
        _made(source, choice, tuple(seed + 1 for seed in seeds), steps), made_for=seeds
    )


def last_batch_dropped(schedule):
    """The schedule leaves out each epoch's last, short batch."""
    return lambda n, size, *words: [
        slot for slot in schedule(n, size, *words) if slot.stop - slot.start == size
    ]
