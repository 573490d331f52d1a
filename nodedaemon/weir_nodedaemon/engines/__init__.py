"""Container engines behind one port (``port.py``)."""
