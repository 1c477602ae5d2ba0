"""The cells of a file: columns of text, and their numbers, modes, qualities and instants."""
