"""DCAT, the deduplicated cross-attention transformer: a history is read once per user, not once per candidate."""
