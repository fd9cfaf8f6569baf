"""SIF files for clusters: made of tested OCI images, run by Apptainer or SingularityCE."""
