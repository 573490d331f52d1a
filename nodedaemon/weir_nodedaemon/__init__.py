"""Weir's node daemon: carries out on one host what the API server says is bound to it."""
