"""Project images for OpenStack: virtual machines that hold the tested containers, built by Packer."""
