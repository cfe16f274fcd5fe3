"""A peer: the loop of the book (Dive into Deep Learning, 3.4, 4.2 and 5.2) in torch, written anew.

A data set gives one image at a time, made a PIL image, resized (to what it is) and made a tensor
as torchvision's `Resize` and `ToTensor` do; a DataLoader with `variant` processes (the book has 4,
started anew each epoch) makes batches of them; then forward, zero_grad, backward and
`torch.optim.SGD`, eager. Without the book's plot of the losses. Rows come in the order of our
epoch, so the loader does not shuffle. It runs inside a harness worker; see `keras_fit.py` for how
it is asked. May import torch, PIL, NumPy and, from the harness, `interface` only.
"""

from __future__ import annotations

import time
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

from harness.interface import Array, Unavailable, Workload


class Backend:
    """torch on the CPU; `variant` is the number of the loader's processes."""

    name: ClassVar[str] = "book"

    def __init__(
        self, device: str, dtype: str, threads: int, variant: str, precision: str = "strict"
    ) -> None:
        """Pin threads just as the harness's torch backend does."""
        if (device, dtype, precision) != ("cpu", "float32", "strict"):
            raise Unavailable("the book's loop runs in float32 and on a cpu only")
        self.num_workers = int(variant)
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)

    def facts(self) -> dict[str, str]:
        """Versions."""
        return {"version:torch": torch.__version__}

    def trainer(self, workload: Workload) -> Trainer:
        """The model and its optimiser."""
        self._trainer = Trainer(workload, self.num_workers)
        return self._trainer

    def op(self, name: str, *arrays: Array, weights: Array | None = None) -> tuple[Array, ...]:
        """One of the trainer's `hold` and `fit`."""
        del weights
        return {"hold": self._trainer.hold, "fit": self._trainer.fit}[name](*arrays)


class Images(Dataset[tuple[torch.Tensor, int]]):
    """Images uint8 (n, 28, 28) and labels int64 (n,), given one by one as torchvision does."""

    def __init__(self, images: Array, labels: Array) -> None:
        self.images = torch.from_numpy(images)
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[i].numpy())
        image = image.resize((28, 28), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).unsqueeze(0)
        return pixels.to(torch.float32).div(255), int(self.labels[i])


class Trainer:
    """The book's concise MLP and its training loop."""

    def __init__(self, workload: Workload, num_workers: int) -> None:
        sizes = workload.sizes
        self.batch_size = workload.batch_size
        self.num_workers = num_workers
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(sizes["num_inputs"], sizes["num_hiddens"]),
            nn.ReLU(),
            nn.Linear(sizes["num_hiddens"], sizes["num_outputs"]),
        )
        self.optim = torch.optim.SGD(self.net.parameters(), lr=workload.optimiser.lr)

    def hold(self, images: Array, labels: Array) -> tuple[Array, ...]:
        """Keep images uint8 (n, 28, 28) and labels int64 (n,); what to do with them is timed."""
        self.data = Images(images, labels)
        return ()

    def fit(self, *params: Array) -> tuple[Array, ...]:
        """One epoch over the rows held, from W1, b1, W2, b2.

        Returns ns of the call and ns of the epoch in it (int64; the same here), then the parameters
        after it.
        """
        with torch.no_grad():
            for parameter, given in zip(self.net.parameters(), params, strict=True):
                parameter.copy_(torch.from_numpy(given.T))
        before = time.perf_counter_ns()
        loader = DataLoader(self.data, self.batch_size, shuffle=False, num_workers=self.num_workers)
        self.net.train()
        for X, y in loader:
            loss = nn.functional.cross_entropy(self.net(X), y)
            self.optim.zero_grad()
            loss.backward()
            self.optim.step()
        ns = np.array(time.perf_counter_ns() - before)
        return ns, ns, *(p.detach().numpy().T.copy() for p in self.net.parameters())

    def close(self) -> None:
        """Nothing is held that the process's end does not give back."""
