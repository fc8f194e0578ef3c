import pytest

from services.common.events import DomainEvent, MalformedEvent, read_event
from services.common.topics import CATALOGUE, entity_of, topic_of

EVENT = DomainEvent("e1", "sale.created", "urn:pos:1", "2026-11-01T12:00:00Z", "acme", "s1", b'{"id": "1"}')


def test_an_event_comes_back_from_its_record() -> None:
    assert read_event(EVENT.headers(), EVENT.data) == EVENT


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_organization", "ce_store"])
def test_a_missing_or_empty_header_is_named(name: str) -> None:
    others = [header for header in EVENT.headers() if header[0] != name]
    for headers in (others, [*others, (name, b"")]):
        with pytest.raises(MalformedEvent, match=name):
            read_event(headers, EVENT.data)


def test_headers_that_are_not_text_and_records_without_a_value_are_refused() -> None:
    with pytest.raises(MalformedEvent, match="UTF-8"):
        read_event([*EVENT.headers(), ("ce_extra", b"\xff")], EVENT.data)
    with pytest.raises(MalformedEvent, match="no value"):
        read_event(EVENT.headers(), None)


@pytest.mark.parametrize("content", [b"a\0b", b"a\nb", "a\x85b".encode(), b"x" * 513])
def test_headers_that_no_index_or_log_should_hold_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvent, match="ce_source"):
        read_event([*EVENT.headers(), ("ce_source", content)], EVENT.data)


def test_other_headers_do_not_matter() -> None:
    assert read_event([("trace", b"\xff\xfe"), *EVENT.headers()], EVENT.data) == EVENT


@pytest.mark.parametrize(
    ("event_type", "topic", "entity"),
    [
        ("sale.created", "outlet.events.sale", "sale"),
        ("customer.deleted", "outlet.events.customer", "customer"),
        ("sale.exploded", "outlet.events.other", None),
        ("shift.opened", "outlet.events.other", None),
        ("loyalty-points/points-earned", "outlet.events.plugin", None),
    ],
)
def test_every_type_has_a_topic(event_type: str, topic: str, entity: str | None) -> None:
    assert topic_of(event_type) == topic
    assert entity_of(event_type) == entity


def test_the_catalogue_names_each_topic_once() -> None:
    names = [topic.name for topic in CATALOGUE]
    assert len(set(names)) == len(names)
