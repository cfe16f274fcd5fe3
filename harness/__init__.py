"""The comparison harness: one model, four frameworks, one verdict.

Nothing in this package imports a framework; frameworks live in `backends` and run in worker
processes of their own. Importing `harness` itself imports nothing at all.
"""

__version__ = "0.1.0"
