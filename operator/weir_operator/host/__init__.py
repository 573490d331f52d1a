"""What the operator does about one Host."""
