"""Nearest-neighbour search over the live pins: exact or by a graph, behind one port."""
