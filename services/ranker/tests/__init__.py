"""Tests of ranking: no network but its own doors, fakes for everything outside."""
