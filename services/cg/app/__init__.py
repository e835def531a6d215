"""Use cases of candidate generation."""
