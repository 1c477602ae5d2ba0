"""Commands that judge monitors: score and benchmark."""
