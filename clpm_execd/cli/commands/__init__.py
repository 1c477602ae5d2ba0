"""The commands, a file each: its options, its help, and what it runs. The stream is the one without a name."""
