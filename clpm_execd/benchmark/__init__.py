"""The benchmark: named suites of loops with known faults, their data as files, and monitors compared on them.

A suite that is frozen never changes: its samples have the sha256 that is written with it. A draft may still change.
"""
