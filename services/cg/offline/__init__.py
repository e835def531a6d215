"""Training and evaluation of the generators."""
