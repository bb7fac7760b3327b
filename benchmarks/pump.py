"""`python pump.py serve PORT` and `python pump.py send|connect HOST PORT COUNT`: TCP, for measurements.

serve     reads to the end of each connection, or closes it at once when its first byte is a question mark
send      COUNT megabytes through one connection, until the other side has read them all
connect   COUNT connections, one after the other, each until the other side has answered by closing it
"""

from __future__ import annotations

import socket
import sys
import threading

_PIECE = 1 << 18


def _serve(port: int) -> None:
    listening = socket.create_server(("0.0.0.0", port), backlog=512)
    while True:
        client, _ = listening.accept()
        threading.Thread(target=_read, args=(client,), daemon=True).start()


def _read(client: socket.socket) -> None:
    room = bytearray(_PIECE)
    with client:
        while count := client.recv_into(room):
            if count == 1 and room[:1] == b"?":
                return


def _send(host: str, port: int, count: int) -> None:
    data = bytes(_PIECE)
    with socket.create_connection((host, port)) as client:
        for _ in range(count * 1_000_000 // _PIECE):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        client.recv(1)


def _connect(host: str, port: int, count: int) -> None:
    for _ in range(count):
        with socket.create_connection((host, port)) as client:
            client.sendall(b"?")
            client.recv(1)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        _serve(int(rest[0]))
    {"send": _send, "connect": _connect}[verb](rest[0], int(rest[1]), int(rest[2]))
