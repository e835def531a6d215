"""A person's feed as a page: a wall of pins, each with its why."""
