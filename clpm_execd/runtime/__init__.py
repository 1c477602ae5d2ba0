"""What a running process needs around the plant: pacing, operating-system signals, logging and progress.

It may import the plant.
"""
