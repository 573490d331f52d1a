"""Small faults put into the code one by one, to see which of them no test notices."""
