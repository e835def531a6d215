"""Use cases: rank at the root, score at the leaf."""
