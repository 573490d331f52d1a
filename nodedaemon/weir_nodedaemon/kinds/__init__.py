"""One package for each kind that this daemon carries out."""
