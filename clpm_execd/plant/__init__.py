"""The simulation of a plant: specifications, stages, kernel, faults, learned loops, random numbers, snapshots.

It may import numpy and `clpm_execd.stored_names`, and has no clock, no I/O, no logging and no pictures.
"""
