"""Live control: changes of a plant that runs, the journal that repeats them, and the socket on which they are asked.

This room may import the plant, the configuration and the state.
"""
