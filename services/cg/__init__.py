"""Candidate generation: every generator of a surface in one call."""
