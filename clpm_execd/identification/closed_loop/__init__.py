"""Maximum-likelihood identification of controller, process and load together."""
