"""The commands, one module each: its options, its help and what it runs. `stream` runs if no command is named."""
