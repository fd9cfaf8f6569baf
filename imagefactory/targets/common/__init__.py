"""What several kinds of image share: what every image holds, how its packages are installed, OCI archives."""
