"""The rooms that lead from input to the plant: settings, durations, loops.toml."""
