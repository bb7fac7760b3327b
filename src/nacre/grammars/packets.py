"""Packets of UDP and ICMP over IPv4 and IPv6: what a container sends, and what it is to see.

Only what is whole is read: no fragments, and of IPv6 nothing with headers between. What is written has a new
header, so no option that a program has set goes on.
Source: RFC 768, 791, 792, 1071, 4443, 8200.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    Packet = tuple[int, bytes, bytes, bytes]
    """Protocol, source, target, and what follows the header. Addresses are packed."""
    Key = tuple[int, bytes, int, bytes, int]
    """Protocol, source, its port, target, its port; of a ping its number, and 0."""

UDP, ICMP, ICMP6 = 17, 1, 58
NET, HOST, PORT, PROHIBITED = 0, 1, 3, 13
"""Why nobody is reached, as ICMP has it."""

_IP, _IP6, _PSEUDO = Struct("!BBHHHBBH4s4s"), Struct("!IHBB16s16s"), Struct("!16s16sII")
_UDP, _ICMP = Struct("!HHHH"), Struct("!BBHHH")
_FRAGMENT, _HOPS, _LARGEST = 0x3FFF, 64, 65535
_ECHO = {ICMP: 8, ICMP6: 128}
_UNREACHABLE = {ICMP: 3, ICMP6: 1}
_CODES6 = {NET: 0, HOST: 3, PORT: 4, PROHIBITED: 1}
_ECHOES, _ERRORS = {ICMP: (0, 8), ICMP6: (128, 129)}, {ICMP: (3, 11, 12), ICMP6: (1, 2, 3, 4)}


def read(data: bytes) -> Packet | None:
    """None for what is no whole packet."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= _IP.size:
        first, _, length, _, fragment, _, protocol, _, source, target = _IP.unpack_from(data)
        begin = (first & 15) * 4
        if fragment & _FRAGMENT or not _IP.size <= begin < length <= len(data):
            return None
        return protocol, source, target, data[begin:length]
    if version == 6 and len(data) >= _IP6.size:
        _, length, protocol, _, source, target = _IP6.unpack_from(data)
        end = _IP6.size + length
        return (protocol, source, target, data[_IP6.size : end]) if length and end <= len(data) else None
    return None


def key_of(packet: Packet) -> Key | None:
    """Of a whole datagram or a ping; None for all else."""
    protocol, source, target, body = packet
    if protocol == UDP and len(body) >= _UDP.size:
        ours, theirs, length, _ = _UDP.unpack_from(body)
        return (UDP, source, ours, target, theirs) if _UDP.size <= length <= len(body) else None
    if protocol == icmp_of(source) and len(body) >= _ICMP.size and body[0] == _ECHO[protocol]:
        return protocol, source, _ICMP.unpack_from(body)[3], target, 0
    return None


def payload(packet: Packet) -> bytes:
    """What a socket sends that sends the same, of what has a key."""
    protocol, _, _, body = packet
    return body[_UDP.size : _UDP.unpack_from(body)[2]] if protocol == UDP else body


def icmp_of(address: bytes) -> int:
    """The protocol of ICMP that goes with an address."""
    return ICMP if len(address) == 4 else ICMP6


def passed(packet: Packet) -> bytes | None:
    """What a neighbour gets of a packet; None for what neighbours do not send each other.

    The checksum of a datagram may be a part of one yet, which a card would complete.
    """
    protocol, source, _, body = packet
    if protocol == UDP:
        key = key_of(packet)
        return _datagram(key, payload(packet)) if key else None
    if protocol != icmp_of(source) or len(body) < _ICMP.size:
        return None
    good = body[0] in _ECHOES[protocol] or (body[0] in _ERRORS[protocol] and _is_about_both(packet))
    return _written(packet) if good else None


def _is_about_both(packet: Packet) -> bool:
    """Whether an error is about what its target has sent to its source."""
    _, source, target, body = packet
    begin, size = _ICMP.size + (12 if len(source) == 4 else 8), len(source)
    return body[begin : begin + 2 * size] == target + source


def answer(key: Key, data: bytes) -> bytes:
    """What comes back from the target of `key`, as a socket has received it; a ping gets its own number."""
    protocol, source, ours, target, theirs = key
    if protocol == UDP:
        return _datagram((UDP, target, theirs, source, ours), data)
    kind, code, _, _, sequence = _ICMP.unpack_from(data)
    return _icmp(protocol, target, source, _ICMP.pack(kind, code, 0, ours, sequence) + data[_ICMP.size :])


def unreachable(key: Key, why: int) -> bytes:
    """What a router says of a packet with `key`: the beginning of what was sent."""
    protocol, source, ours, target, theirs = key
    begin = _UDP.pack(ours, theirs, _UDP.size, 0)
    if protocol != UDP:
        begin = _ICMP.pack(_ECHO[protocol], 0, 0, ours, 0)
    said = icmp_of(source)
    code = why if said == ICMP else _CODES6[why]
    head = _ICMP.pack(_UNREACHABLE[said], code, 0, 0, 0)
    return _icmp(said, target, source, head + _written((protocol, source, target, begin)))


def _datagram(key: Key, data: bytes) -> bytes:
    """IPv4 can do without a checksum."""
    _, source, ours, target, theirs = key
    length = _UDP.size + len(data)
    body = _UDP.pack(ours, theirs, length, 0) + data
    if len(source) == 16:
        check = checksum(_pseudo(UDP, source, target, body) + body) or _LARGEST
        body = _UDP.pack(ours, theirs, length, check) + data
    return _written((UDP, source, target, body))


def _icmp(protocol: int, source: bytes, target: bytes, body: bytes) -> bytes:
    """With the checksum, which is 0 in `body`."""
    before = _pseudo(protocol, source, target, body) if protocol == ICMP6 else b""
    check = checksum(before + body).to_bytes(2, "big")
    return _written((protocol, source, target, body[:2] + check + body[4:]))


def _pseudo(protocol: int, source: bytes, target: bytes, body: bytes) -> bytes:
    return _PSEUDO.pack(source, target, len(body), protocol)


def _written(packet: Packet) -> bytes:
    protocol, source, target, body = packet
    if len(source) == 16:
        return _IP6.pack(6 << 28, len(body), protocol, _HOPS, source, target) + body
    fields = 0x45, 0, _IP.size + len(body), 0, 0, _HOPS, protocol
    check = checksum(_IP.pack(*fields, 0, source, target))
    return _IP.pack(*fields, check, source, target) + body


def checksum(data: bytes) -> int:
    """The internet checksum: words of 16 bits are added as a number is divided by 65535. Source: RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    return ~(total % _LARGEST or (_LARGEST if total else 0)) & 0xFFFF
