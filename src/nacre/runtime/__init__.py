"""The command `nacre-runtime`: containers of OCI bundles for podman, containerd, docker and buildah."""
