"""Strategies that say how new a candidate is after what was placed, behind one port."""
