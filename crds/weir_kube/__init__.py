"""The only door to the API server: connection, watch cache, work queue, status writes, Leases."""
