"""The stages of a scan, from the operator to the recording, each with the state it keeps from scan to scan.

They may import numpy and the plant's own modules.
"""
