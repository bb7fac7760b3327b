"""Clients that hold connections: idle, trickling, too many, slow to read. Others are answered meanwhile."""

import http.client
import resource
import socket
import time
from contextlib import ExitStack, closing, suppress

import pytest

from nacre.services.server import RegistryLimits
from nacre.services.server.connections import ConnectionLimits, Connections
from nacre.words.rules import RegistryRules

DEADLINE = 30
FEW = ConnectionLimits(most=100, each=3, rate=1000)


def is_open(client):
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


@pytest.fixture
def pairs():
    """A listening socket, and how to get both ends of a new connection from an address."""
    with ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listening:

        def connect(source="127.0.0.1"):
            client = socket.create_connection(listening.getsockname(), source_address=(source, 0))
            server, _ = listening.accept()
            opened.enter_context(client)
            opened.enter_context(server)
            return client, server

        yield listening, connect


def test_of_a_client_with_too_many_those_that_moved_least_give_way(pairs):
    listening, connect = pairs
    watched = Connections(listening, FEW)
    mine = [connect() for _ in range(5)]
    others = [connect("127.0.0.2") for _ in range(3)]
    assert watched.look(0.0) == 2
    left = [pair for pair in mine if is_open(pair[0])]
    assert left == mine[2:]
    left[0][0].sendall(b"some bytes")
    left[0][1].recv(100)
    late = connect()
    assert watched.look(0.1) == 1
    assert [is_open(pair[0]) for pair in (*left, late)] == [True, False, True, True]
    assert all(is_open(client) for client, _ in others)
    assert watched.look(0.2) == 0


def test_with_nearly_all_taken_shares_are_smaller(pairs):
    listening, connect = pairs
    watched = Connections(listening, ConnectionLimits(most=20, each=16, rate=1000))
    mine = [connect("127.0.0.3") for _ in range(16)]
    other = connect("127.0.0.4")
    assert watched.look(0.0) == 14
    assert [is_open(client) for client, _ in (*mine, other)].count(True) == 3


def test_an_answer_that_is_not_taken_is_broken_off(pairs):
    listening, connect = pairs
    watched = Connections(listening, FEW)
    slow, fast, idle = connect(), connect(), connect()
    for _, server in (slow, fast):
        server.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                server.send(b"x" * 65536)
    began = time.monotonic()
    assert watched.look(began + 31) == 0
    fast[0].setblocking(False)
    for look in range(2, 10):  # the kernel may still move what slow has taken
        moved = 0
        while moved < 200_000:
            with suppress(BlockingIOError):
                moved += len(fast[0].recv(65536))
            with suppress(BlockingIOError):
                fast[1].send(b"x" * 65536)
        if gone := watched.look(began + 31 * look):
            break
    assert gone == 1
    assert is_open(fast[0])
    with pytest.raises(BrokenPipeError):
        slow[1].send(b"x")
    assert is_open(idle[0])


def test_sockets_that_are_not_the_server_s_are_left_alone(pairs):
    listening = pairs[0]
    with socket.create_server(("127.0.0.1", 0)) as other:
        elsewhere = [socket.create_connection(other.getsockname()) for _ in range(9)]
        assert Connections(listening, FEW).look(0.0) == 0
        assert all(is_open(client) for client in elsewhere)
        for client in elsewhere:
            client.close()


class TestFlood:
    @pytest.fixture
    def rules(self):
        return RegistryRules(connections=20)

    def test_others_are_answered_at_once(self, api):
        """Six hundred idle or trickling connections, more than the server takes at a time."""
        host, _, port = api.address.partition(":")
        address, begun = (
            (host, int(port)),
            (b"", b"GET /v2/ HTTP/1.1\r\nHost: ", b"POST /v2/a/blobs/uploads/"),
        )
        count = min(600, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 3)
        with ExitStack() as opened:
            for number in range(count):
                client = opened.enter_context(socket.create_connection(address, timeout=DEADLINE))
                with suppress(OSError):
                    client.sendall(begun[number % 3])
            times = []
            for _ in range(20):
                began = time.monotonic()
                elsewhere = http.client.HTTPConnection(
                    *address, timeout=DEADLINE, source_address=("127.0.0.9", 0)
                )
                with closing(elsewhere):
                    elsewhere.request("GET", "/v2/")
                    assert elsewhere.getresponse().status == 200
                times.append(time.monotonic() - began)
            assert sorted(times)[10] < 5, times
            assert api("GET", "/v2/").status == 200


class TestTrickle:
    @pytest.fixture
    def limits(self):
        return RegistryLimits(patience=0.3, rate=1000)

    def test_a_body_that_trickles_is_given_up(self, api):
        location = api.begin("app")
        host, _, port = api.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE) as client:
            client.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n".encode())
            client.settimeout(0.02)
            answer, end = b"", time.monotonic() + DEADLINE
            while not answer and time.monotonic() < end:
                client.send(b"x")
                with suppress(TimeoutError):
                    answer = client.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"less than 1000 bytes received per second" in answer
