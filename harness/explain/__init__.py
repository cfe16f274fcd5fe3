"""Why they differ: named conventions, computed again where a rung fails, until one fits.

A hypothesis says what a process would have given, had it followed another convention, from what the
judge was given; it *explains* where what was given lies within the limit of correct code of that.
Nothing less is told. Imports the judge's pieces and `measure`; no framework, and no verdict.
"""
