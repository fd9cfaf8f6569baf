"""A real OpenStack cloud on this machine alone, in which project images are tried."""
