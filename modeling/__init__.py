"""Building blocks that retrieval and ranking share: layers, losses, the training loop, model bundles, baselines."""
