"""The Docker engine; ``sdk`` is the only door to its client library."""
