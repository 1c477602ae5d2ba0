"""The equations of one scan, written once, and the engines that run them one loop at a time, interpreted or compiled.

It may import numpy, numba where that is installed, and the stages and specifications of the plant.
"""
