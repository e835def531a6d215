"""Tests of candidate generation: no network but its own door, fakes for everything outside."""
