import pytest

from nacre.grammars.wire.ranges import Span
from nacre.grammars.wire.uploads import ENDS, TRANSITIONS, Event, UploadState, after, check_chunk
from nacre.words.errors import RegistryError


def reachable(start: UploadState) -> set[UploadState]:
    found, todo = {start}, [start]
    while todo:
        state = todo.pop()
        nexts = {to for (source, _), to in TRANSITIONS.items() if source is state} - found
        found |= nexts
        todo += nexts
    return found


def test_every_state_is_reached_and_nothing_leaves_an_end() -> None:
    assert reachable(UploadState.OPEN) == set(UploadState)
    assert not {source for source, _ in TRANSITIONS} & ENDS


def test_an_end_is_reached_from_everywhere() -> None:
    for state in UploadState:
        assert reachable(state) & ENDS


def test_every_event_is_used() -> None:
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_only_one_request_writes() -> None:
    for state in (UploadState.RECEIVING, UploadState.CLOSING):
        for event in (Event.PATCH, Event.PUT, Event.CANCEL):
            with pytest.raises(RegistryError) as caught:
                after(state, event)
            assert (caught.value.code, caught.value.status) == ("BLOB_UPLOAD_INVALID", 409)


@pytest.mark.parametrize("state", sorted(ENDS, key=str))
@pytest.mark.parametrize("event", list(Event))
def test_what_has_ended_is_unknown(state: UploadState, event: Event) -> None:
    with pytest.raises(RegistryError) as caught:
        after(state, event)
    assert (caught.value.code, caught.value.status) == ("BLOB_UPLOAD_UNKNOWN", 404)


def test_a_whole_upload() -> None:
    state = UploadState.OPEN
    for event in (
        Event.PATCH,
        Event.REST,
        Event.PATCH,
        Event.REST,
        Event.PUT,
        Event.BREAK,
        Event.PUT,
        Event.COMMIT,
    ):
        state = after(state, event)
    assert state is UploadState.DONE


def test_chunks_must_be_in_order_and_honest() -> None:
    assert check_chunk(None, 5, None) is None
    assert check_chunk(None, 5, 7) == 7
    assert check_chunk(Span(5, 9), 5, None) == check_chunk(Span(5, 9), 5, 5) == 5
    for span, offset, length, status in (
        (Span(4, 9), 5, None, 416),
        (Span(6, 9), 5, 4, 416),
        (Span(5, 9), 5, 6, 400),
    ):
        with pytest.raises(RegistryError) as caught:
            check_chunk(span, offset, length)
        assert caught.value.status == status
