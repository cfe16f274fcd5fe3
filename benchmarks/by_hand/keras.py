"""Two convolutional nets in Keras 3 by `fit`, on the engine KERAS_BACKEND names. May import keras.

As Keras's guides write it: images channels last, all that `compile` and `fit` choose by themselves
as it is. Given are: no progress bar, no shuffling, no metric but the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from keras_fit import Epoch


def nielsen_conv_2() -> list[Any]:
    """28 x 28 -> 12 x 12 x 20 -> 4 x 4 x 40 -> 100 -> 10."""
    return [
        keras.Input((28, 28, 1)),
        layers.Conv2D(20, 5),
        layers.MaxPooling2D(2),
        layers.Activation("sigmoid"),
        layers.Conv2D(40, 5),
        layers.MaxPooling2D(2),
        layers.Activation("sigmoid"),
        layers.Flatten(),
        layers.Dense(100, activation="sigmoid"),
        layers.Dense(10),
    ]


def cifar_net() -> list[Any]:
    """32 x 32 x 3 -> 14 x 14 x 6 -> 5 x 5 x 16 -> 120 -> 84 -> 10."""
    return [
        keras.Input((32, 32, 3)),
        layers.Conv2D(6, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(10),
    ]


# Layers, parameters in the order of their weights, learning rate, momentum.
CONV_2 = ("K1", "c1", "K2", "c2", "W1", "b1", "W2", "b2")
SYSTEMS: dict[str, Any] = {
    "nielsen-conv-2": (nielsen_conv_2, CONV_2, 0.1, 0.0),
    "cifar-net": (cifar_net, (*CONV_2, "W3", "b3"), 0.001, 0.9),
}


def loop(
    system: str, _variant: str, start: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray
) -> tuple[Callable[[int], list[int]], Callable[[], dict[str, np.ndarray]]]:
    """Train and parameters of a system; a step is its share of the epoch, as `Epoch` times it."""
    make, names, lr, momentum = SYSTEMS[system]
    model = keras.Sequential(make())
    model.compile(
        optimizer=keras.optimizers.SGD(lr, momentum=momentum),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.set_weights([start[name] for name in names])
    size, epoch = x.shape[1], Epoch()
    images, classes = x.reshape(-1, *x.shape[2:]), y.ravel()
    options: dict[str, Any] = {"batch_size": size, "shuffle": False, "verbose": 0}

    def train(steps: int) -> list[int]:
        rows = steps * size
        model.fit(images[:rows], classes[:rows], callbacks=[epoch], **options)
        return [epoch.ns // steps]

    def parameters() -> dict[str, np.ndarray]:
        return dict(zip(names, model.get_weights(), strict=True))

    return train, parameters
