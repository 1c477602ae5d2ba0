"""What a stream keeps on disk to resume: the checkpoint, the lock on its folder, and the resume point.

It may import the plant.
"""
