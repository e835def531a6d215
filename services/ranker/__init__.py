"""Ranking: a root that fetches and trims, a leaf that scores."""
