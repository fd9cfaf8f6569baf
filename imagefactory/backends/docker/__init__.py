"""OCI images: rendered as a Dockerfile, built by BuildKit, tested in the Docker Engine."""

from imagefactory.backends.docker.backend import DockerBackend

__all__ = ["DockerBackend"]
