"""BLAKE2b as hashlib has it, without the OpenSSL that hashlib loads beside it: a stream waits for its first line."""

try:
    from _blake2 import blake2b
except ImportError:  # a Python that is built otherwise
    from hashlib import blake2b

__all__ = ["blake2b"]
