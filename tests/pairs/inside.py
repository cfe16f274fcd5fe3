"""Pairs of a framework's functions handed over as objects, in a process that has it: JSON.

    python -m tests.pairs.inside '{"name": ["numpy.softmax", "torch.softmax", "x=float32[8,64]"]}'

A side is the side's name and its function; two of one framework are "torch" and "torch_too" (or
anything else behind a "_").
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

import msgspec

import harness


def main() -> None:
    found = {}
    for name, (one, other, like) in json.loads(sys.argv[1]).items():
        sides = {}
        for side in (one, other):
            name_of, _, function = side.partition(".")
            framework = name_of.partition("_")[0]
            module = "plain" if framework == "numpy" else f"in_{framework}"
            sides[name_of] = getattr(import_module(f"tests.pairs.{module}"), function)
        found[name] = msgspec.to_builtins(harness.same(like=like, **sides))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
