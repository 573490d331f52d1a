"""The GPUs of this machine: what is there, how it does."""
