"""How alike a fitted loop and its record are.

It may import the plant, records and identification.
"""
