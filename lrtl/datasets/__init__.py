"""Datasets: where each comes from, its sequences and its traps; all end in one common layout."""

from lrtl.datasets import clips, davis, demo

DATASETS = {module.NAME: module for module in (clips, davis, demo)}
