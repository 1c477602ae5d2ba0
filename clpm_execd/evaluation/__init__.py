"""How similar a fitted loop is to its record.

The room may import the plant, records, identification and the ground floor.
"""
