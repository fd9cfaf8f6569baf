"""SIF files for clusters: made from tested OCI images, run by Apptainer or SingularityCE."""

from imagefactory.backends.apptainer.backend import ApptainerBackend

__all__ = ["ApptainerBackend"]
