"""Identification of valve stiction and its intervals."""
