"""From the user's input to what the plant runs: settings, loops.toml, and the files that `init` writes.

The room imports the plant and the ground floor, and reads nothing but the files that the user names.
"""
