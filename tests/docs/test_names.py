"""Class names are unique; every word of a name is a term of the field, or in the glossary."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from sourcekit import MODULES, PACKAGE, parsed, statements

DESIGN = (Path(__file__).resolve().parents[2] / "docs" / "design.md").read_text(encoding="utf-8")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")

SHARED: dict[str, str] = {}
"""Class names that live in two modules, and why they must."""

_FIELD = """
64 account action active actives addresses ahead answer answers app apply archive archives archivesink arg
args arguments asked at attached attachment attachments attributes audit auth authenticator aware base
backup bearer bind blob blobinfo blobpolicy blobs blocked blocks bodies body bool borrow branch buffer build
builder building built c cache caches calls capabilities catalog certificates cdi cgroups chain challenge
change changes check checking checks child chmod choice chosen chroot chrooted chunk chunked cli client
bytecodecache checkpoint checkpoints clone closable cmd code
codecs collection columns command commands commit committed compare comparison completed compressed compressor
conditional conditions conf config confine conflict connecting container containers content contents context
copied copier copy copying copyup count cp crc create credentials daemon damaged database dedup demo
describe descriptor device devices df diff difference digest directory disconnected disk display division
dns docker dockerarchive dockerfile document documents dot download downloaded downloads driver drivers each
edit edits
either elf encode encoder end ended endpoint endpoints ends engine entry entrypoint env envfile erofs
error errors estargz etc evaluate event events exec executable execute executing expand exploration explore
export expose extents external extra extract extracted extraction failed failure fault fetched field fields
file filehash files filling filters finder finding firewall flags flow folder folderread folders foreign fork
forkguard forkmap forks format forward forwarding found frames freed from full function functions fuse glob go
goheader gotemplate group gzip hash hashes hashing header headings health healthcheck held help here heredoc
history hook host
hostkey hostlibs hosts id identifier identity ids ignore image images import importer index indexed indexing
indexread info ingest ingested init inode inodes inputs inside inspect instruction instructions interfaces
invalid ip ipc item items job join joining journal jsonfile jump key keys kill kind known label laid large
later launch layer ldap
layers layout lease leases leave lex lexer libc libraries limits line lines link links lint linux list
listen listing lists literals live load loaded loader local localcontent lock locks log
logdrivers logfiles logical login logins logoptions logout
logs long look loopback lost main maintainer making manifest manifestlist manifests map mapping mask member
members memory mended mending merging message meta metadata mirror mirrored mirroring mirrors mismatch mode
model restore restoring
ending handover held idle logfile loop monitor policy restart resume rotation shim supervision timer
binds csvline driveroptions idmap mountmode mountsources ownership selinux
mount mounted mountoption mounts nacre name names namespace namespaces nearby needs netlink network
networking networks new nftables nil no node nodes not null number oci of on only oom operation
operations
option options ordered os other otherrepositories out outcome output overlay owner owners pace pack packed
packer packing parse partial path paths pause paused pauses pax permitted pickled piece pieces pipe plain plan
packer packing parse partial parts path paths pause paused pauses pax permitted pickled pieces pipe plain plan
platform platforms point policy pool port ports postgres postgresql
around decoder prefixed printf probe problem process profile program progress readaround throughput
proof proxies proxy prune ps psfilters publish pull push pushed python question quickjson quoting range
ranged ranges raw read readahead reader reading reads reassembled rebuild rebuilt receive reclaim recompressed
record recorded recorder recording records ref reference referrer referrers referring refs refused
registries registry relay remedy remote removal removed repack repacker repair report repositories
repository request reserve reset resolv resolved resolver resource response resting restore result results
retry rm rmi
rotation route routes row rows rules run running runtime safe sandbox save scan scanner schema score
scratch search seccomp section seekable seeking select selection sender sending server service services
serving session sessions settings shapes shared shell signal signalbuffer signals sink sizes source span spans
spare sparse spec special split sqlite stack stage stageprogress stargz start state stats stdio stop stopped
store stored stores stream streamed streams stretch string struct subnet subnets such supervisor syncing
syntax syscalls sysctls system table tag take tar target tarsplit task template temporary terminal terminals
terminated text threads throttle throttles times timestamps tmpfs toc token tokens toml too tools totals
transaction transfer transfers transient transport tree trees tuning unauthorized under union unpack
unreachable unshare unsupported upload uploadrecords uploads usage use user userns users value values
variable verifier version view volume volumes wait wanted warning waste watch watched where whiteouts wire
wiring work workdir worker workers working write writer written wrong
neighbour neighbours packet packetlink packets
access accessprofile acceptor eventlog initial nameserver piped veth
unshared optimize optimizing apparmor enter filter hold rule security
marking reachable reclaimable
evicted fetcher fetching importing flight flights joined pools through upstream upstreams
certificate peer behind carried moving
annotation buildoutput buildx combination combined combining exported exporter exporting imagetools outputs
buildhistory buildrecords buildsteps buildview graph json remote sources steps waiting writing
attach attaching clients detach detachkeys dropped foreground freezer keyed lifecycle notify pausing processes
rename renaming top waiting
call outline variables agent agents entitlements git gitsource
contexts namedcontext remotecontext tarcontext layoutimage connection connections unchanged
descriptors epoll landlock healthshim networkshim networksocket notification notifier sockets
bus control dbus delegation groups updating hierarchies hierarchy limit machine missing scope setting update
account by bundle console credentials domain for given hooks json jsonnode kernel keyring keys mask missing
ready resources root runtimespec sets setup socket spec udp
buildcache cached cacheusage mountcache githubcache hub delivery exported imported imports incomplete unusable
forecast defined property reason reasons reasoned suppress epoch checkout
bytecode candidate compile environment indexes indexpage installed interpreter locked package packages pinned
pip pipconfig project projects provider requirement requirements requirementsfile resolve supply virtual wheel
checked layerwriter localfiles pins readprojects wheelfiles wheellayers wheels wheelscripts
advice doubled install installs packagecaches secrets
executor order origin origins stagecache networkprogram externalnetwork firewalld
arithmetic bad bake baking block checkforms compose definition encodings expression hcl heredoc privileges
opening sshkeys squash squashed strings substitution targets variable
apk attached attestation attestationfiles attestations attesting distribution dpkg facts golang inventory
licenses materials npm packageurls predicate provenance rpm spdx statement statements
access accounts administration authentication authorization failures grant migrations password passwords
rights role
team teams versions collector durations garbage mentions
about activity aged application applications artifact author bar bounded browsing bucket changed
comparing counted sequential exceeded exchange expired exposition fetch figures home identities in integrity
invitation invitations issuer issuers joblocks jobs listings located location maintenance marks metrics
object objects observed occurrence oidc opened outgoing page part place placed position post posting
protocol query quota quotas rate rates readme registrycontent render renderer retention scrub scrubber
added difference failure follow local look pace pulling pushing remembering replicated replicating replication
replicator row runner counts queue own sides silent slow way
secret shown sign signin sso static still storage tables tls trust trusts unavailable views visit webhook
webhooks
backups namecopy remoteaccount remoteaccounts remoteapi remotebackup remotecontent remotereplication
replicationrules
replications summary telemetry
answered api counting managed detail details empty heartbeat made management named openapi people purged runs
upkeep
"""
FIELD = frozenset(_FIELD.split())
"""Terms of OCI, containerd, docker, POSIX, tar, Go and Python, and plain words with their plain meaning."""


@cache
def classes(path: Path) -> list[str]:
    return [node.name for node in statements(parsed(path)) if isinstance(node, ast.ClassDef)]


def words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def glossary() -> set[str]:
    table = DESIGN[DESIGN.index("| word | meaning |") :].split("\n\n")[0]
    return {word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])}


@cache
def names() -> dict[str, set[str]]:
    """Every word of a module, a package or a public class, and where it stands."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in MODULES.values():
        where = str(path.relative_to(PACKAGE))
        public = [name for name in classes(path) if not name.startswith("_")]
        for name in (path.stem.replace("__init__", ""), path.parent.name, *public):
            for word in words(name):
                found[word].add(where)
    return found


def is_known(word: str, coined: set[str]) -> bool:
    return word in FIELD or word in coined or word.removesuffix("s") in coined


def test_a_class_name_lives_in_one_module() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for path in MODULES.values():
        for name in set(classes(path)):
            homes[name].append(str(path.relative_to(PACKAGE)))
    assert {name for name, paths in homes.items() if len(paths) > 1} == set(SHARED), homes


def test_every_word_of_a_name_is_known() -> None:
    coined = glossary()
    unknown = {word: sorted(paths) for word, paths in names().items() if not is_known(word, coined)}
    assert not unknown, "take a term of the field, or define the word in the glossary of docs/design.md"


@pytest.mark.parametrize("word", sorted(glossary() - {"floor"}))
def test_the_glossary_defines_what_is_used(word: str) -> None:
    assert any(found.removesuffix("s") == word.removesuffix("s") for found in names())
