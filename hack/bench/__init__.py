"""Benchmarks: how long a Task takes, how many run, what the control path and a restart cost.

Run as ``python -m bench`` (``make bench``). Each starts a control plane and processes of its own,
and compares with the bare thing in the same run, because absolute figures change with the machine.
"""
