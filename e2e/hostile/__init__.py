"""Hostile input, made from the descriptors of the contracts: every field of every message, every way to break one."""
