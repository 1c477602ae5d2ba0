"""The equations of one scan, written once and run for a number, an array or machine code.

It may import numpy and the plant's specifications.
"""
