"""One file per generator; all of them search the same snapshot of the pin index."""
