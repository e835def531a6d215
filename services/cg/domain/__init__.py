"""Pins as an index, and the generators that search it."""
