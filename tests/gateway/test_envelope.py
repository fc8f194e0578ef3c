"""What the three content modes of the CloudEvents HTTP binding look like, and what is refused."""

import base64
import json

import pytest

from services.common.errors import TooLarge
from services.gateway.envelope import InvalidEvent, media_type, read_batch, read_binary, read_structured


def test_structured_event_keeps_the_bytes_of_its_payload() -> None:
    envelope = read_structured(b'{"id": "e-1", "data": {"total": 1.10, "n": 12345678901234567890}}')
    assert envelope.attributes == {"id": "e-1"}
    assert envelope.data == b'{"total": 1.10, "n": 12345678901234567890}'


def test_null_member_of_a_structured_event_is_an_attribute_not_set() -> None:
    assert read_structured(b'{"id": "e-1", "subject": null}').attributes == {"id": "e-1"}


def test_base64_payload_is_decoded() -> None:
    encoded = base64.b64encode(b'{"id": "s-1"}').decode()
    assert read_structured(json.dumps({"data_base64": encoded}).encode()).data == b'{"id": "s-1"}'


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"id": "\xff"}', "id"),
        (b'{"id": "\\ud800"}', "body"),
        (b'{"data":' + b"[" * 100_000, "body"),
        (b'{"data": {}, "data_base64": "e30="}', "data_base64"),
        (b'{"data_base64": "not base64"}', "data_base64"),
        (b'{"data_base64": 5}', "data_base64"),
    ],
)
def test_malformed_structured_event_is_refused(body: bytes, member: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        read_structured(body)
    assert caught.value.members["member"] == member


def test_binary_event_takes_its_attributes_from_headers() -> None:
    headers = [("Ce-Id", "e-1"), ("ce-type", "sale.created"), ("Content-Type", "application/json"), ("Accept", "*/*")]
    envelope = read_binary(headers, b'{"id": "s-1"}')
    assert envelope.attributes == {"id": "e-1", "type": "sale.created", "datacontenttype": "application/json"}
    assert envelope.data == b'{"id": "s-1"}'


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%2541", "%41"),  # one round of decoding only
        ('"a \\"quoted\\" text"', 'a "quoted" text'),
        ("50% off", "50% off"),
    ],
)
def test_attribute_in_a_header_is_percent_decoded_once(sent: str, meant: str) -> None:
    assert read_binary([("ce-subject", sent)], b"").attributes == {"subject": meant}


@pytest.mark.parametrize("headers", [[("ce-id", "%FF")], [("ce-id", "a"), ("CE-ID", "b")]])
def test_ambiguous_or_undecodable_header_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidEvent):
        read_binary(headers, b"")


def test_batch_has_at_most_a_thousand_events() -> None:
    assert len(read_batch(b"[" + b",".join([b"{}"] * 1_000) + b"]")) == 1_000
    with pytest.raises(TooLarge) as caught:
        read_batch(b"[" + b",".join([b"{}"] * 1_001) + b"]")
    assert caught.value.problem_code == "batch_too_large"


def test_media_type_ignores_case_and_parameters() -> None:
    assert media_type("Application/CloudEvents+JSON; charset=UTF-8") == "application/cloudevents+json"
