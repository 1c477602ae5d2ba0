"""The version of the package, in a file that imports nothing; the build reads it from here."""

__version__ = "0.1.0"
