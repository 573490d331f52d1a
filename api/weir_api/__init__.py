"""The facade: serves REST clients by reading and writing Weir's resources."""
