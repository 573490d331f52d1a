"""This machine's Host object."""
