"""The kubectl plugin: ``kubectl weir logs``, ``why`` and ``hosts``."""
