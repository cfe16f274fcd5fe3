"""Measurements and limits -> findings. Takes stored records only; starts nothing.

`numbers` judges inputs ... lockstep, `outcome` trajectory and accuracy, `timing` the step times.
"""
