"""Measurements and limits -> findings. Takes stored records only; starts nothing.

`numbers` judges inputs ... lockstep, `trajectory` and `outcome` (accuracy) what was learnt,
`timing` the step times; `hints` says what the pattern of a divergence points to.
"""
