"""Loops that were identified from a record: the parameters of their model, and the resampling of its residuals.

They may import numpy, and the stages, random numbers and snapshots of the plant.
"""
