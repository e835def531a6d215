"""Features, the model, the trimmer and the utility."""
