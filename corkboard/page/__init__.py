"""Pages of a running Corkboard: a person's feed as a wall of pins, each with its why; rules and their use."""
