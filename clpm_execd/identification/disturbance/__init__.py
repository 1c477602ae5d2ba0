"""Identification of the load: steps, oscillations from other loops, and slow drift."""
