"""The ground truth of faults: when each is present, whether it is visible, and the episodes that result.

It may import numpy and the modules of the plant.
"""
