"""Plants: that of --demo, and the loops.toml files that `init` writes, an example and plants of published statistics.

It may import the plant.
"""
