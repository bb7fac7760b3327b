"""The flags of `docker buildx build` (0.29) and those of `docker build` (28) that help hides, with a value.

Each is taken and has an effect, or is refused or said to have none: by its own name.
"""

from __future__ import annotations

BUILDX = """
add-host=db:10.1.2.3 allow=network.host annotation=a=b attest=type=sbom,disabled=true build-arg=A=b
build-context=x=. builder=ci cache-from=type=local,src=cache cache-to=type=local,dest=cache call=check
cgroup-parent=/nacre check debug file/f=Dockerfile iidfile=iid label=a=b load metadata-file=m.json
network=none no-cache no-cache-filter=one output/o=type=cacheonly platform=linux/amd64 progress=plain
provenance=false pull push quiet/q sbom=false secret=id=one,src=secret shm-size=1m ssh=default=socket
tag/t=x target=one ulimit=nofile=64
"""
HIDDEN = """
compress cpu-period=100000 cpu-quota=50000 cpu-shares/c=512 cpuset-cpus=0 cpuset-mems=0 debug/D
disable-content-trust force-rm isolation=default memory/m=64m memory-swap=128m rm
security-opt=seccomp=x squash
"""


def flags(text: str) -> dict[str, tuple[str, str]]:
    """Name to letter and value, "" for none."""
    found = {}
    for word in text.split():
        name, _, value = word.partition("=")
        name, _, letter = name.partition("/")
        found[name] = letter, value
    return found


FLAGS = flags(BUILDX) | flags(HIDDEN)
ELSEWHERE = {"build-context"}
"""Flags that are not known yet."""
NOTHING = {
    "builder": "WARNING: --builder ci ignored", "compress": "WARNING: --compress has no effect",
    "security-opt": "WARNING: --security-opt has no effect",
    "no-cache-filter": "WARNING: no-cache-filter",
}  # fmt: skip
"""What is said of flags that have no effect here."""
