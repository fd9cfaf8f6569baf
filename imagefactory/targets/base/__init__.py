"""Base images: made of locked packages by mmdebstrap, kept as OCI image layouts."""
