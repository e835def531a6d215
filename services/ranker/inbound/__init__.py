"""Who calls the ranker: gRPC, released bundles."""
