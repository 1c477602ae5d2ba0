"""The stages of a scan, from the operator to the recording, each with its state from scan to scan.

They may import numpy, the equations of the kernel, and the specifications and snapshots of the plant.
"""
