"""Tasks: one command in one container, to its end."""
