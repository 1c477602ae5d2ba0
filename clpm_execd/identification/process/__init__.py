"""Identification of the process by prediction errors, and its residuals."""
