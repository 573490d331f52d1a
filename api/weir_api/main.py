"""The facade's process: settings, wiring, a clean end."""
