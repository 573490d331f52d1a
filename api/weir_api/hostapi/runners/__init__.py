"""Runners of another make: they report for their hosts and tasks, and are sent nothing."""
