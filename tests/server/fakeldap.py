"""A small LDAP server: entries with passwords, and what it was asked. Every socket has a time-out."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ldap3.protocol import rfc4511
from pyasn1.codec.ber import decoder, encoder

PATIENCE = 60.0
SUCCESS, REFERRAL, NO_SUCH, INVALID = 0, 10, 32, 49


class FakeLdap:
    """`entries` have attributes by the name of the entry; their `userPassword` is what binds. `answers` are
    results given instead, by the name of whoever binds.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, starts_tls: ssl.SSLContext | None = None) -> None:
        self.entries: dict[str, dict[str, list[str]]] = {}
        self.answers: dict[str, int] = {}
        self.references: list[str] = []
        self.binds: list[tuple[str, bytes]] = []
        self.filters: list[Any] = []
        self.silent = False
        self._tls, self._starts_tls = tls, starts_tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._serving = threading.Thread(target=self._serve)
        self._serving.start()

    @property
    def connections(self) -> int:
        return len(self._threads)

    def _serve(self) -> None:
        while True:
            peer, _ = self._listening.accept()
            if self._ended:
                peer.close()
                return
            peer.settimeout(PATIENCE)
            thread = threading.Thread(target=self._talk, args=(peer,))
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        self._ended = True
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
        for thread in (self._serving, *self._threads):
            thread.join(PATIENCE)
        self._listening.close()

    def _talk(self, peer: socket.socket) -> None:
        try:
            with suppress(OSError, ValueError):
                if self.silent:
                    peer.recv(1 << 16)
                    peer.recv(1 << 16)
                    return
                if self._tls:
                    peer = self._tls.wrap_socket(peer, server_side=True)
                while message := _read(peer):
                    number, kind = message["messageID"], message["protocolOp"].getName()
                    asked = message["protocolOp"][kind]
                    if kind == "extendedReq":
                        peer = self._secured(peer, number)
                    elif kind == "bindRequest":
                        peer.sendall(self._bind(number, asked))
                    elif kind == "searchRequest":
                        peer.sendall(self._search(number, asked))
        finally:
            peer.close()

    def _secured(self, peer: socket.socket, number: Any) -> socket.socket:
        code = SUCCESS if self._starts_tls else 2
        peer.sendall(_encoded(number, "extendedResp", _result(rfc4511.ExtendedResponse(), code)))
        return self._starts_tls.wrap_socket(peer, server_side=True) if self._starts_tls else peer

    def _bind(self, number: Any, asked: Any) -> bytes:
        name, password = str(asked["name"]), bytes(asked["authentication"]["simple"])
        self.binds.append((name, password))
        kept = self.entries.get(name, {}).get("userPassword", [])
        # as many servers do: without a password it is a success that proves nothing
        good = not password or password.decode() in kept
        code = self.answers.get(name, SUCCESS if good else INVALID)
        return _encoded(number, "bindResponse", _result(rfc4511.BindResponse(), code))

    def _search(self, number: Any, asked: Any) -> bytes:
        self.filters.append(asked["filter"])
        base, one = str(asked["baseObject"]).lower(), int(asked["scope"]) == 0
        found = [
            self._entry(number, name)
            for name, entry in self.entries.items()
            if (name.lower() == base if one else name.lower().endswith(base))
            if _fits(asked["filter"], entry)
        ]
        found += [self._reference(number, url) for url in self.references]
        done = _encoded(number, "searchResDone", _result(rfc4511.SearchResultDone(), SUCCESS))
        return b"".join([*found, done])

    def _entry(self, number: Any, name: str) -> bytes:
        found, attributes = rfc4511.SearchResultEntry(), rfc4511.PartialAttributeList()
        found["object"] = name
        entry = {key: each for key, each in self.entries[name].items() if key != "userPassword"}
        for index, (key, values) in enumerate(entry.items()):
            attribute, vals = rfc4511.PartialAttribute(), rfc4511.Vals()
            attribute["type"] = key
            for place, value in enumerate(values):
                vals[place] = rfc4511.AttributeValue(value.encode())
            attribute["vals"] = vals
            attributes[index] = attribute
        found["attributes"] = attributes
        return _encoded(number, "searchResEntry", found)

    def _reference(self, number: Any, url: str) -> bytes:
        found = rfc4511.SearchResultReference()
        found[0] = rfc4511.URI(url)
        return _encoded(number, "searchResRef", found)


def _fits(wanted: Any, entry: dict[str, list[str]]) -> bool:
    kind = wanted.getName()
    if kind == "present":
        return True
    if kind == "equalityMatch":
        name = str(wanted[kind]["attributeDesc"])
        return bytes(wanted[kind]["assertionValue"]).decode() in entry.get(name, [])
    return kind == "or" or kind == "substrings"


def _result(answer: Any, code: int) -> Any:
    answer["resultCode"] = code
    answer["matchedDN"] = ""
    answer["diagnosticMessage"] = ""
    if code == REFERRAL:
        uris = rfc4511.Referral()
        uris[0] = rfc4511.URI("ldap://127.0.0.1:1/")
        answer["referral"] = uris
    return answer


def _encoded(number: Any, kind: str, answer: Any) -> bytes:
    message = rfc4511.LDAPMessage()
    message["messageID"] = rfc4511.MessageID(int(number))
    message["protocolOp"] = rfc4511.ProtocolOp().setComponentByName(kind, answer)
    return bytes(encoder.encode(message))


def _read(peer: socket.socket) -> Any:
    """One message; None at the end."""
    data = peer.recv(2)
    if len(data) < 2:
        return None
    size = data[1]
    if size & 0x80:
        more = peer.recv(size & 0x7F)
        data, size = data + more, int.from_bytes(more, "big")
    while size > 0 and (part := peer.recv(size)):
        data, size = data + part, size - len(part)
    return decoder.decode(data, asn1Spec=rfc4511.LDAPMessage())[0]


@contextmanager
def ldap_server(**tls: Any) -> Iterator[FakeLdap]:
    fake = FakeLdap(**tls)
    try:
        yield fake
    finally:
        fake.close()
