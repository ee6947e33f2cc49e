"""Datasets: where each comes from, its sequences and its traps; all end in one common layout.

A module has its `NAME`, `SEQUENCES` and the `SCORED` ones among them, `archive_of` a sequence,
`prepare`, and `counts`: whether an annotated frame counts in the scores, `benchmark` by the
dataset's own protocol, `released` by that of the released code.
"""

from lrtl.datasets import clips, davis, demo, fbms59, segtrackv2

DATASETS = {module.NAME: module for module in (davis, segtrackv2, fbms59, demo, clips)}
RIGID = ("movi", "movi_mini")  # videos of rigid objects with exact trajectories; see movi.py
