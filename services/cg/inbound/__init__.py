"""Who calls candidate generation: gRPC, the pin topic, released bundles."""
