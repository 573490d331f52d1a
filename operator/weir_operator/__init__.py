"""Weir's operator: decides which host, cores and memory a Task gets, and when it goes."""
