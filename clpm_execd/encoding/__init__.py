"""Blocks of samples as bytes: line protocol and CSV.

It may import the plant.
"""
