"""What the machine has: cores, NUMA nodes, memory, and who it is."""
