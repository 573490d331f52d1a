"""The kubectl plugin: ``kubectl weir logs``, ``why``, ``hosts``, ``top``, ``version``."""
