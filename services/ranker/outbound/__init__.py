"""Whom the root calls, and the files a leaf reads."""
