"""One loop over a queue: what waits, what is free, what goes where."""
