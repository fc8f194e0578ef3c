"""What is personal data, and what is left of a document without it."""

from typing import Any

import msgspec
import pytest

from outlet.manifest import PERMISSIONS
from outlet.samples.retailer import retailer
from outlet.samples.sales import sales
from services.common.events import DomainEvent
from services.runtime.commerce.personal_data import GRANTS, hidden_from, kind_of_path, personal_members, redact
from services.runtime.commerce.redaction import without

NOTHING_GRANTED = hidden_from(())
EVERYTHING_GRANTED = hidden_from(tuple(GRANTS.values()))


def event(kind: str, data: Any) -> DomainEvent:
    encoded = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return DomainEvent("e", kind, "urn:pos", "2026-11-01T12:00:00Z", "acme", "s1", encoded)


def seen(entity: str, document: dict[str, Any], *grants: str) -> Any:
    return msgspec.json.decode(without(hidden_from(grants), event(f"{entity}.updated", document)).data)


def test_the_grants_are_ones_that_a_manifest_can_ask_for() -> None:
    assert set(GRANTS.values()) <= PERMISSIONS


@pytest.mark.parametrize(
    ("entity", "document", "left"),
    [
        (
            "customer",
            {
                "id": "c1",
                "firstName": "Ada",
                "email": "a@b.c",
                "birth_date": "2000-01-01",
                "tier": "gold",
                "storeId": "s1",
            },
            {"id": "c1", "tier": "gold", "storeId": "s1"},
        ),
        (
            "customer",
            {"id": "c1", "contact": {"Phone-Number": "1", "preferred": True}, "addresses": [{"street": "x"}]},
            {"id": "c1", "contact": {"preferred": True}},
        ),
        (
            "employee",
            {"id": "e1", "name": "Ada", "role": "cashier", "salary": 1, "manager": {"id": "e2", "name": "Ben"}},
            {"id": "e1", "role": "cashier", "manager": {"id": "e2"}},
        ),
        (
            "sale",
            {
                "id": "1",
                "customerId": "c1",
                "customerName": "Ada",
                "customer": {"id": "c1", "tier": "gold", "name": "Ada", "contact": {"email": "a@b.c"}},
                "cashier": "Ben",
                "cashierId": "e1",
                "shippingAddress": {"street": "x"},
                "lines": [{"name": "Tea", "salesperson": {"id": "e1", "given name": "Ben"}}],
                "tenders": [{"method": "card", "cardholderName": "A. A.", "amount": "1.00"}],
                "totals": {"total": "1.00"},
            },
            {
                "id": "1",
                "customerId": "c1",
                "customer": {"id": "c1", "tier": "gold", "contact": {}},
                "cashierId": "e1",
                "lines": [{"name": "Tea", "salesperson": {"id": "e1"}}],
                "tenders": [{"method": "card", "amount": "1.00"}],
                "totals": {"total": "1.00"},
            },
        ),
        (
            "store",
            {"id": "s1", "name": "Main", "address": {"city": "Salem"}, "phone": "1", "manager": {"name": "Ada"}},
            {"id": "s1", "name": "Main", "address": {"city": "Salem"}, "phone": "1", "manager": {}},
        ),
        ("product", {"id": "p1", "name": "Tea", "price": "1.00"}, {"id": "p1", "name": "Tea", "price": "1.00"}),
        ("sale", {"id": "1", "customer": None, "customers": ["Ada"]}, {"id": "1", "customer": None}),
    ],
)
def test_without_a_grant_personal_data_is_absent(entity: str, document: dict[str, Any], left: dict[str, Any]) -> None:
    assert seen(entity, document) == left
    assert seen(entity, document, *GRANTS.values()) == document


def test_each_kind_of_person_is_a_grant_of_its_own() -> None:
    sale = {"id": "1", "customer": {"name": "Ada"}, "cashier": {"name": "Ben"}}
    assert seen("sale", sale, "customer:personal-data") == {"id": "1", "customer": {"name": "Ada"}, "cashier": {}}
    assert seen("sale", sale, "employee:personal-data") == {"id": "1", "customer": {}, "cashier": {"name": "Ben"}}


def test_a_payload_with_nothing_to_hide_is_passed_on_untouched() -> None:
    for sale in sales(retailer(), 50):
        whole = event("sale.created", sale)
        assert without(NOTHING_GRANTED, whole) is whole


def test_with_every_grant_nothing_is_even_read() -> None:
    unreadable = event("customer.updated", b"\xff")
    assert without(EVERYTHING_GRANTED, unreadable) is unreadable


def test_types_that_belong_to_no_entity_pass() -> None:
    for kind in ("shift.opened", "loyalty-points/customer.joined"):
        whole = event(kind, {"name": "Ada", "customer": {"name": "Ada"}})
        assert without(NOTHING_GRANTED, whole) is whole


def test_a_verb_that_the_platform_does_not_know_hides_nothing() -> None:
    assert without(NOTHING_GRANTED, event("customer.merged", {"id": "c", "name": "Ada"})).data == b'{"id":"c"}'


@pytest.mark.parametrize("data", [b"\xff", b"{", b"[" * 100_000])
def test_what_cannot_be_looked_through_is_not_passed_on(data: bytes) -> None:
    assert without(NOTHING_GRANTED, event("customer.merged", data)).data == b""


def test_what_is_left_keeps_its_numbers_exactly() -> None:
    data = b'{"id":"c","name":"x","a":1.10,"b":123456789012345678901234567890,"c":0.1}'
    left = without(NOTHING_GRANTED, event("customer.updated", data)).data
    assert left == b'{"id":"c","a":1.10,"b":123456789012345678901234567890,"c":0.1}'


@pytest.mark.parametrize(
    ("entity", "path", "kind"),
    [
        ("customer", "email", "customer"),
        ("customer", "contact.0.email", "customer"),
        ("customer", "name.first", "customer"),
        ("customer", "tier", None),
        ("sale", "customer.name", "customer"),
        ("sale", "customer", "customer"),
        ("sale", "customer.tier", None),
        ("sale", "customerId", None),
        ("sale", "cashierName", "employee"),
        ("sale", "lines.0.name", None),
        ("sale", "lines.-1.seller.phone", "employee"),
        ("store", "name", None),
        ("product", "name", None),
    ],
)
def test_paths_are_judged_as_the_members_they_name(entity: str, path: str, kind: str | None) -> None:
    assert kind_of_path(entity, path.split(".")) == kind


def test_a_document_without_its_personal_members_has_none() -> None:
    sale = {"customer": {"name": "Ada", "tags": [{"email": "x"}]}, "lines": [{"seller": {"name": "Ben"}}]}
    found = personal_members("sale", sale, NOTHING_GRANTED)
    assert found == {
        ("customer", "name"): "Ada",
        ("customer", "tags", 0, "email"): "x",
        ("lines", 0, "seller", "name"): "Ben",
    }
    assert redact("sale", sale, NOTHING_GRANTED)
    assert personal_members("sale", sale, NOTHING_GRANTED) == {}
    assert not redact("sale", sale, NOTHING_GRANTED)
