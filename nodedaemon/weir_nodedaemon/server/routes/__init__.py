"""The routes of the daemon's HTTPS port."""
