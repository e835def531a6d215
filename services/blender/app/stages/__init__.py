"""The stages of a feed, one file each."""
