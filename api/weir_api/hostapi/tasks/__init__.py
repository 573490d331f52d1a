"""Tasks by REST: submit, follow, control, read their output, decide on them."""
