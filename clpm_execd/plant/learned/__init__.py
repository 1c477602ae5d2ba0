"""Loops that were identified from a record: the parameters of their model, and the resampling of its residuals.

It may import numpy and the plant's own modules.
"""
