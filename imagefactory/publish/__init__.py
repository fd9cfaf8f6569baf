"""What others get over a network: images of virtual machines, in an OpenStack cloud."""
