"""The header of a file: where it is, and what each of its columns holds."""
