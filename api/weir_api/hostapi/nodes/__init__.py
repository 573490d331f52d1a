"""Hosts as clients see them: what they have, what is in use, and how busy they are."""
