"""The loops.toml files that `init` writes: a commented example, and whole plants from published statistics.

It may import the plant.
"""
