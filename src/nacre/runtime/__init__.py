"""The command `nacre-runtime`: containers of OCI bundles for podman, containerd, docker and buildah."""

from ..ground.finder import install

install()
