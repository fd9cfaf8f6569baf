"""VM bases: disks of virtual machines, made of locked packages, on which project images are built."""
