"""What the operator does about one Task, placing aside."""
