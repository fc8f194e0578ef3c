"""Which events are admitted, and where they go."""

import json
from datetime import datetime
from typing import Any

import pytest

from services.common.auth import Caller, Role
from services.common.errors import Forbidden, OutletError, TooLarge
from services.common.events import read_event
from services.gateway.admission import Record, admit
from services.gateway.envelope import Envelope

ACME = Caller("till-7", "acme", None, Role.CASHIER)
ACME_STORE_1 = Caller("till-7", "acme", "s-1", Role.CASHIER)
SALE = b'{"id": "sale-1", "total": "12.50"}'


def envelope(data: bytes | None = SALE, **changes: Any) -> Envelope:
    attributes = {
        "id": "e-1",
        "source": "/pos/7",
        "specversion": "1.0",
        "type": "sale.created",
        "time": "2026-03-01T10:00:00+01:00",
        "organization": "acme",
        "store": "s-1",
    } | changes
    return Envelope({name: value for name, value in attributes.items() if value is not None}, data)


def admitted(data: bytes | None = SALE, **changes: Any) -> Record:
    return admit(envelope(data, **changes), ACME)


def test_sale_goes_to_the_sales_topic_under_its_own_key() -> None:
    record = admitted()
    assert (record.topic, record.key, record.value) == ("outlet.events.sale", b"acme/s-1/sale-1", SALE)
    event = read_event(record.headers, record.value)
    assert (event.id, event.type, event.source) == ("e-1", "sale.created", "/pos/7")
    assert (event.time, event.organization, event.store) == ("2026-03-01T10:00:00+01:00", "acme", "s-1")


def test_absent_time_is_now() -> None:
    headers = dict(admitted(time=None).headers)
    assert datetime.fromisoformat(headers["ce_time"].decode()).utcoffset() is not None


def test_other_attributes_travel_along() -> None:
    headers = dict(admitted(subject="till 7", sequence=12, training=True).headers)
    assert (headers["ce_subject"], headers["ce_sequence"], headers["ce_training"]) == (b"till 7", b"12", b"true")


@pytest.mark.parametrize("event_type", ["refund.approved", "com.example.Thing", "sale.teleported", "sale"])
@pytest.mark.parametrize("data", [None, b"null", b"[1, 2]", b'"text"', b"{}"])
def test_unknown_type_is_kept_whatever_its_payload(event_type: str, data: bytes | None) -> None:
    record = admitted(data, type=event_type)
    assert (record.topic, record.key) == ("outlet.events.other", b"acme/s-1/e-1")
    assert record.value == (data or b"null")


@pytest.mark.parametrize(
    ("changes", "code", "member"),
    [
        ({"id": None}, "invalid_event", "id"),
        ({"id": ""}, "invalid_event", "id"),
        ({"id": 5}, "invalid_event", "id"),
        ({"id": "a\x00b"}, "invalid_event", "id"),
        ({"id": "\ud800"}, "invalid_event", "id"),
        ({"id": "x" * 513}, "invalid_event", "id"),
        ({"source": None}, "invalid_event", "source"),
        ({"source": "urn:outlet:installation:1"}, "invalid_event", "source"),
        ({"source": "URN:Outlet:installation:1"}, "invalid_event", "source"),
        ({"specversion": None}, "invalid_event", "specversion"),
        ({"specversion": "0.3"}, "invalid_event", "specversion"),
        ({"type": None}, "invalid_event", "type"),
        ({"type": "loyalty-points/points-earned"}, "reserved_type", "type"),
        ({"type": "plugin.breaker-opened"}, "reserved_type", "type"),
        ({"time": "yesterday"}, "invalid_event", "time"),
        ({"time": "2026-03-01"}, "invalid_event", "time"),
        ({"time": "2026-03-01T10:00:00"}, "invalid_event", "time"),
        ({"time": "2026-02-30T10:00:00Z"}, "invalid_event", "time"),
        ({"time": "9999-12-31T23:59:59-12:00"}, "invalid_event", "time"),
        ({"datacontenttype": "text/plain"}, "invalid_event", "datacontenttype"),
        ({"Bad-Name": "x"}, "invalid_event", "Bad-Name"),
        ({"nested": {}}, "invalid_event", "nested"),
        ({"fraction": 1.5}, "invalid_event", "fraction"),
        ({"organization": None}, "missing_organization", "organization"),
        ({"organization": ""}, "missing_organization", "organization"),
        ({"store": None}, "missing_store", "store"),
        ({"store": 7}, "invalid_event", "store"),
    ],
)
def test_bad_attribute_is_named(changes: dict[str, Any], code: str, member: str) -> None:
    with pytest.raises(OutletError) as caught:
        admitted(**changes)
    assert (caught.value.status, caught.value.problem_code) == (400, code)
    assert caught.value.members["member"] == member


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (None, "data.id"),
        (b"[]", "data.id"),
        (b"{}", "data.id"),
        (b'{"id": ""}', "data.id"),
        (b'{"id": 5}', "data.id"),
        (b'{"id": "a\\u0000"}', "data.id"),
        (json.dumps({"id": "x" * 513}).encode(), "data.id"),
        (b'{"id": "s-1"', "data"),
        (b'{"id": "s-1", "note": "\xff"}', "data"),
        (b'{"id": "s-1", "total": NaN}', "data"),
    ],
)
def test_entity_without_a_usable_id_is_refused(data: bytes | None, member: str) -> None:
    with pytest.raises(OutletError) as caught:
        admitted(data)
    assert (caught.value.problem_code, caught.value.members["member"]) == ("invalid_event", member)


def test_event_of_another_organization_is_refused() -> None:
    with pytest.raises(Forbidden) as caught:
        admitted(organization="rival")
    assert caught.value.problem_code == "wrong_organization"


def test_token_of_one_store_speaks_for_no_other() -> None:
    assert admit(envelope(), ACME_STORE_1).event_id == "e-1"
    with pytest.raises(Forbidden) as caught:
        admit(envelope(store="s-2"), ACME_STORE_1)
    assert caught.value.problem_code == "wrong_store"


def test_event_that_no_broker_would_take_is_refused_beforehand() -> None:
    with pytest.raises(TooLarge) as caught:
        admitted(b'{"id": "s-1", "note": "' + b"x" * 1_000_000 + b'"}')
    assert caught.value.problem_code == "event_too_large"
