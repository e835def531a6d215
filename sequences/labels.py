"""What a person may do with a served pin: a label each, and what models learn to foretell."""

LABELS = ("clicked", "saved", "hidden", "long_viewed", "shared", "converted")
