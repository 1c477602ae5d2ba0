"""From a Record to the specification of a loop, with intervals and findings.

It may import the plant and records.
"""
