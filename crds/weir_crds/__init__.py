"""The resources of the API group ``weir.dev``: models, names and rules. Pure: no I/O, no clock."""
