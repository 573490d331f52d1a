"""The resources as the facade sees them: caches to read, one door to write, and the daemons."""
