"""Parity of two runs over the same events: pure metrics, gates, and the bundle that a cut-over would activate."""
