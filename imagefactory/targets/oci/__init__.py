"""OCI images: rendered as a Dockerfile, built by BuildKit, tested in the Docker Engine."""
