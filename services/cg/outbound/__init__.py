"""Whom candidate generation calls, and the files it reads."""
