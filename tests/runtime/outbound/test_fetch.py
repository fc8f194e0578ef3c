"""``api.fetch``, from the plugin's own Api to a receiver and back."""

import asyncio
import gzip
import json
import uuid
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind

from outlet import Api, ApiError, FetchResponse, Secret, _values
from outlet.manifest import Host
from services.common.directory import Installation
from services.common.secret_settings import SecretKeys, SecretPlace, new_key
from services.common.tracing import OFF, Tracing
from services.runtime.invocation import Invocation
from services.runtime.outbound.client import OutboundClient
from services.runtime.outbound.fetching import Fetcher
from services.runtime.outbound.guard import Guard
from services.runtime.outbound.limits import FetchLimits
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.session import PluginApiSession
from tests.runtime.installations import installation
from tests.runtime.outbound.receiver import Received, Receiver, answer, receiving
from tests.runtime.resources import resources
from tests.support.spans import REMOTE, TRACE_ID, recording

SETTINGS = {
    "type": "object",
    "properties": {"apiKey": {"type": "string", "format": "secret"}, "region": {"type": "string"}},
}
KEY = "sk-live-2718281828"


@dataclass
class NoWork:
    """A call that has not used the database, or has."""

    opened: bool = False

    async def before_effect_outside(self) -> None:
        return None


@dataclass
class Plugin:
    """A plugin's calls: each ``api()`` is one attempt of the invocation ``cause``."""

    receiver: Receiver
    resolve: Any
    found: Installation
    limits: FetchLimits = field(default_factory=FetchLimits)
    guard: Guard = field(default_factory=lambda: Guard(loopback=True))
    deadline: float = 5.0
    keys: SecretKeys = field(default_factory=lambda: SecretKeys.parse(new_key()))
    tracing: Tracing = OFF
    tell_trace: bool = False

    def api(self, cause: str | None = None, *, opened: bool = False) -> Api:
        invocation = Invocation(
            self.found, "hook", "sale.created", "urn:pos", cause or uuid.uuid4().hex, "s1", b"", self.deadline
        )
        client = OutboundClient(self.guard, self.resolve)
        fetcher = Fetcher(client, self.limits, self.tracing, tell_trace=self.tell_trace)
        context = Context(invocation, NoWork(opened), resources(fetcher=fetcher, keys=self.keys))  # type: ignore[arg-type]
        session = PluginApiSession(context)

        class Direct:
            async def call(self, method: str, arguments: dict[str, Any]) -> Any:
                try:
                    answered = await session(method, _values.decode(_values.encode(arguments)))
                except ApiRefusal as refusal:
                    raise ApiError(refusal.code, refusal.message) from refusal
                return _values.decode(_values.encode(answered))

            def notify(self, method: str, arguments: dict[str, Any]) -> None:
                raise AssertionError(method)

        return Api(Direct(), secrets=("apiKey",))


def acme(*hosts: str, granted: tuple[str, ...] | None = None, **config: Any) -> Installation:
    """An installation whose plugin declares these hosts."""
    found = installation(
        hosts=tuple(Host(name=host, purpose="to test") for host in hosts),
        settings_schema=SETTINGS,
        config={"apiKey": KEY, "region": "eu", **config},
    )
    grants = tuple(f"host:{host}" for host in (hosts if granted is None else granted))
    return msgspec.structs.replace(found, grants=grants)


async def to_this_machine(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest_asyncio.fixture(loop_scope="session")
async def plugin() -> AsyncIterator[Plugin]:
    async with receiving() as receiver:
        yield Plugin(receiver, to_this_machine, acme("api.example.com", "*.example.org"))


async def refused(call: Any) -> str:
    with pytest.raises(ApiError) as refusal:
        await call
    assert KEY not in str(refusal.value)
    return refusal.value.code


async def test_a_request_arrives_and_its_answer_comes_back(plugin: Plugin) -> None:
    plugin.receiver.answer = answer(201, b'{"total": 1.10}', content_type="application/json", X_Cost="3")
    response = await plugin.api().fetch(
        plugin.receiver.url(path="/orders?x=1#top"),
        method="post",
        json={"amount": Decimal("1.10")},
        headers={"X-Tenant": "acme"},
    )
    assert (response.status, response.ok, response.json()) == (201, True, {"total": Decimal("1.10")})
    assert response.headers["x-cost"] == "3"
    [received] = plugin.receiver.requests
    assert (received.method, received.target) == ("POST", "/orders?x=1")
    assert json.loads(received.body) == {"amount": "1.10"}
    assert received.headers["host"] == f"api.example.com:{plugin.receiver.port}"
    assert received.headers["x-tenant"] == "acme"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"] == "outlet-plugin/loyalty-points/1.0.0"


async def test_any_status_is_an_answer(plugin: Plugin) -> None:
    plugin.receiver.answer = answer(503, b"later")
    response = await plugin.api().fetch(plugin.receiver.url())
    assert (response.status, response.ok, response.text()) == (503, False, "later")


async def test_only_declared_and_granted_hosts_are_reached(plugin: Plugin) -> None:
    api = plugin.api()
    url = plugin.receiver.url
    assert (await api.fetch(url("shop.example.org"))).ok
    assert (await api.fetch(url("a.b.EXAMPLE.org"))).ok
    for host in ("example.org", "evil-example.org", "api.example.com.evil.net", "127.0.0.1", "api.example.com."):
        assert await refused(api.fetch(url(host))) == "host_not_declared"
    plugin.found = acme("api.example.com", granted=())
    assert await refused(plugin.api().fetch(url())) == "host_not_granted"
    assert len(plugin.receiver.requests) == 2


async def test_plain_http_credentials_and_ports_of_other_protocols_are_refused(plugin: Plugin) -> None:
    plugin.guard = Guard()
    api = plugin.api()
    for url in (
        "http://api.example.com/",
        "ftp://api.example.com/",
        "file:///etc/passwd",
        "//api.example.com/",
        "https://user:pw@api.example.com/",
        "https://api.example.com:25/",
        "https://api.example.com:80/",
        "https://api.example.com:99999/",
        "https://api.example.com/" + "x" * 9000,
        "",
    ):
        assert await refused(api.fetch(url)) == "invalid_url", url


async def test_a_granted_name_that_leads_inside_is_refused(plugin: Plugin) -> None:
    plugin.guard = Guard()
    assert await refused(plugin.api().fetch(f"https://api.example.com:{plugin.receiver.port}/")) == "address_refused"
    assert plugin.receiver.requests == []


async def test_a_name_that_leads_inside_the_second_time_is_refused_then(plugin: Plugin) -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def rebind(host: str, port: int) -> list[str]:
        return next(answers)

    plugin.resolve = rebind
    api = plugin.api()
    assert (await api.fetch(plugin.receiver.url())).ok
    assert await refused(api.fetch(plugin.receiver.url())) == "address_refused"


async def test_redirects_are_followed_and_each_is_checked(plugin: Plugin) -> None:
    def moved(received: Received) -> bytes:
        if received.target == "/":
            return answer(302, location="/next")
        return answer(200, b"here")

    plugin.receiver.answer = moved
    response = await plugin.api().fetch(plugin.receiver.url(), method="POST", body="x")
    assert (response.text(), response.url) == ("here", plugin.receiver.url(path="/next"))
    assert [(found.method, found.body) for found in plugin.receiver.requests] == [("POST", b"x"), ("GET", b"")]
    response = await plugin.api().fetch(plugin.receiver.url(), follow_redirects=False)
    assert (response.status, response.headers["location"]) == (302, "/next")
    for target, code in (
        (plugin.receiver.url("evil.net"), "host_not_declared"),
        ("http://169.254.169.254/latest", "host_not_declared"),
        ("file:///etc/passwd", "invalid_url"),
        ("http://api.example.com:x/", "fetch_failed"),
        ("/", "too_many_redirects"),
    ):
        plugin.receiver.answer = answer(307, location=target)
        assert await refused(plugin.api().fetch(plugin.receiver.url())) == code, target


async def test_a_redirect_to_another_origin_carries_no_credentials(plugin: Plugin) -> None:
    def moved(received: Received) -> bytes:
        if received.headers["host"].startswith("api."):
            return answer(307, location=plugin.receiver.url("other.example.org"))
        return answer(200)

    plugin.receiver.answer = moved
    api = plugin.api()
    headers = {"Authorization": f"Bearer {api.secret('apiKey')}", "X-Api-Key": "k", "Cookie": "a=b", "Accept": "*/*"}
    await api.fetch(plugin.receiver.url(), method="POST", body="x", headers=headers)
    first, second = plugin.receiver.requests
    assert first.headers["authorization"] == f"Bearer {KEY}"
    assert second.body == b"x"
    assert second.headers.keys() & {"authorization", "x-api-key", "cookie", "idempotency-key"} == set()
    assert second.headers["accept"] == "*/*"


async def test_a_secret_is_put_in_by_the_platform_and_never_comes_back(plugin: Plugin) -> None:
    plugin.receiver.answer = lambda received: answer(200, json.dumps(received.headers).encode(), X_Echo=KEY)
    api = plugin.api()
    assert KEY not in repr(api.get_config("apiKey"))
    response = await api.fetch(
        plugin.receiver.url(path=f"/{api.secret('apiKey')}"),
        headers={"Authorization": f"Bearer {api.secret('apiKey')}"},
    )
    assert plugin.receiver.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in plugin.receiver.requests[0].target
    assert response.json()["authorization"] == "Bearer {{secret:apiKey}}"
    assert KEY not in str(response)


async def test_only_secrets_that_exist_and_fit_are_put_in(plugin: Plugin) -> None:
    api = plugin.api()
    for name in ("region", "nothing", ""):
        headers = {"Authorization": f"{{{{secret:{name}}}}}"}
        assert await refused(api.fetch(plugin.receiver.url(), headers=headers)) == "unknown_secret"
    plugin.found = acme("api.example.com", apiKey="two\r\nX-Lines: 1")
    headers = {"Authorization": str(api.secret("apiKey"))}
    assert await refused(plugin.api().fetch(plugin.receiver.url(), headers=headers)) == "unusable_secret"


async def test_a_sealed_secret_is_opened_where_it_belongs_and_nowhere_else(plugin: Plugin) -> None:
    plugin.keys = SecretKeys.parse(new_key())
    found = plugin.found = acme("api.example.com")
    place = SecretPlace(found.organization_id, found.plugin_id, found.id, "apiKey")
    sealed = plugin.keys.seal(KEY, place)
    plugin.found = msgspec.structs.replace(found, config={"apiKey": sealed})
    headers = {"Authorization": f"Bearer {Secret('apiKey')}"}
    await plugin.api().fetch(plugin.receiver.url(), headers=headers)
    assert plugin.receiver.requests[0].headers["authorization"] == f"Bearer {KEY}"

    plugin.found = msgspec.structs.replace(plugin.found, organization_id="globex")
    assert await refused(plugin.api().fetch(plugin.receiver.url(), headers=headers)) == "unreadable_secret"
    await plugin.api().fetch(plugin.receiver.url())  # what needs no secret goes on
    plugin.found, plugin.keys = msgspec.structs.replace(found, config={"apiKey": sealed}), SecretKeys.parse(new_key())
    with pytest.raises(ApiError, match="none of OUTLET_SECRET_KEYS") as unopened:
        await plugin.api().fetch(plugin.receiver.url(), headers=headers)
    assert sealed["sealed"] not in str(unopened.value)
    assert len(plugin.receiver.requests) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "internal"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Connection": "X-Api-Key"},
        {"Upgrade": "h2c"},
        {"Accept-Encoding": "br"},
        {"Proxy-Authorization": "x"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"X\r\nY": "1"},
        {"X": "1\r\nHost: internal"},
        {"X": "\0"},
        {"X": "ü"},
        {"": "x"},
        {"X": "x" * 17_000},
        {f"X-{number}": "x" for number in range(65)},
    ],
)
async def test_headers_that_are_not_the_plugins_to_set_are_refused(plugin: Plugin, headers: dict[str, str]) -> None:
    assert await refused(plugin.api().fetch(plugin.receiver.url(), headers=headers)) == "invalid_header"
    assert plugin.receiver.requests == []


async def test_a_large_answer_comes_whole_and_a_larger_one_is_refused(plugin: Plugin) -> None:
    body = bytes(range(256)) * 4096
    plugin.receiver.answer = answer(200, body)
    assert (await plugin.api().fetch(plugin.receiver.url())).body == body
    plugin.receiver.answer = answer(200, body + b"!")
    assert await refused(plugin.api().fetch(plugin.receiver.url())) == "response_too_large"


async def test_a_decompression_bomb_is_refused(plugin: Plugin) -> None:
    plugin.receiver.answer = answer(200, gzip.compress(b"0" * 50_000_000), content_encoding="gzip")
    assert await refused(plugin.api().fetch(plugin.receiver.url())) == "response_too_large"


async def test_a_compressed_answer_is_unpacked_and_a_broken_one_refused(plugin: Plugin) -> None:
    text = b"hello " * 1000
    for encoding, packed in (("gzip", gzip.compress(text)), ("deflate", zlib.compress(text)), ("identity", text)):
        plugin.receiver.answer = answer(200, packed, content_encoding=encoding)
        response = await plugin.api().fetch(plugin.receiver.url())
        assert response.body == text
        assert "content-encoding" not in response.headers
    for encoding, packed in (("gzip", gzip.compress(text)[:-9]), ("gzip", text), ("br", text)):
        plugin.receiver.answer = answer(200, packed, content_encoding=encoding)
        assert await refused(plugin.api().fetch(plugin.receiver.url())) == "response_unreadable"


async def test_an_answer_that_never_ends_is_a_time_out(plugin: Plugin) -> None:
    async def never(_: Received) -> bytes:
        await asyncio.Event().wait()
        return b""

    plugin.receiver.answer = never
    assert await refused(plugin.api().fetch(plugin.receiver.url(), timeout=0.1)) == "fetch_timeout"
    plugin.deadline = 0.4  # of the whole call: the plugin is told before it is ended
    assert await refused(plugin.api().fetch(plugin.receiver.url())) == "fetch_timeout"
    for timeout in (0.0, -1.0, 11.0, float("nan"), float("inf")):
        assert await refused(plugin.api().fetch(plugin.receiver.url(), timeout=timeout)) == "invalid_arguments"


@pytest.mark.parametrize("answered", [b"", b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"])
async def test_an_answer_that_is_no_http_is_a_failure_with_a_name(plugin: Plugin, answered: bytes) -> None:
    plugin.receiver.answer = answered
    assert await refused(plugin.api().fetch(plugin.receiver.url())) == "fetch_failed"


async def test_an_unsafe_request_has_a_key_that_is_the_same_when_the_call_is_repeated(plugin: Plugin) -> None:
    async def attempt(cause: str) -> list[str | None]:
        api = plugin.api(cause)
        for method in ("POST", "GET", "DELETE"):
            await api.fetch(plugin.receiver.url(), method=method)
        found = plugin.receiver.requests[-3:]
        return [received.headers.get("idempotency-key") for received in found]

    first, again, other = await attempt("e1"), await attempt("e1"), await attempt("e2")
    assert first == again
    assert first[1] is None
    assert len({*first, *other}) == 5
    await plugin.api().fetch(plugin.receiver.url(), method="POST", headers={"Idempotency-Key": "mine"})
    assert plugin.receiver.requests[-1].headers["idempotency-key"] == "mine"


async def test_cookies_of_one_answer_do_not_travel_with_the_next_request(plugin: Plugin) -> None:
    plugin.receiver.answer = answer(200, set_cookie="session=1; Path=/")
    api = plugin.api()
    await api.fetch(plugin.receiver.url())
    await api.fetch(plugin.receiver.url())
    assert "cookie" not in plugin.receiver.requests[1].headers


async def test_proxies_of_the_environment_are_ignored(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await plugin.api().fetch(plugin.receiver.url())).ok
        assert proxy.requests == []


async def test_requests_have_a_rate_a_number_at_once_and_fewer_with_a_transaction_open(plugin: Plugin) -> None:
    now = 0.0
    plugin.limits = FetchLimits(per_minute=20, concurrent=1, in_transactions=0, clock=lambda: now)
    api = plugin.api()
    assert await refused(plugin.api(opened=True).fetch(plugin.receiver.url())) == "fetch_busy"
    one, other = await asyncio.gather(
        api.fetch(plugin.receiver.url()), api.fetch(plugin.receiver.url()), return_exceptions=True
    )
    assert isinstance(one, FetchResponse)
    assert isinstance(other, ApiError)
    assert other.code == "fetch_busy"
    await api.fetch(plugin.receiver.url())
    assert await refused(api.fetch(plugin.receiver.url())) == "fetch_rate_limited"
    plugin.found = acme("api.example.com")  # another installation has its own
    await plugin.api().fetch(plugin.receiver.url())
    now = 3.0
    assert await refused(plugin.api(opened=True).fetch(plugin.receiver.url())) == "fetch_busy"
    await plugin.api().fetch(plugin.receiver.url())


async def test_other_methods_are_refused(plugin: Plugin) -> None:
    for method in ("CONNECT", "TRACE", "GET / HTTP/1.1\r\n", ""):
        assert await refused(plugin.api().fetch(plugin.receiver.url(), method=method)) == "invalid_arguments"


@pytest.mark.parametrize("tell_trace", [False, True])
async def test_a_request_is_a_span_and_its_receiver_is_told_only_if_the_operator_says_so(
    plugin: Plugin, tell_trace: bool
) -> None:
    plugin.tracing, spans = recording()
    plugin.tell_trace = tell_trace
    api = plugin.api()
    with plugin.tracing.span("api fetch.send", SpanKind.INTERNAL, REMOTE, {}):
        url = plugin.receiver.url(path="/customers/c-4711?token=s3cr3t")
        await api.fetch(url, headers={"traceparent": "the plugin's own"})
    sent, call = spans.get_finished_spans()
    assert (sent.name, sent.parent) == ("GET", call.context)
    assert sent.context is not None
    assert sent.attributes == {
        "http.request.method": "GET",
        "server.address": "api.example.com",
        "server.port": plugin.receiver.port,
        "http.response.status_code": 200,
    }
    told = plugin.receiver.requests[0].headers["traceparent"]
    if tell_trace:
        assert told.startswith(f"00-{TRACE_ID:032x}-{sent.context.span_id:016x}-")
    else:
        assert told == "the plugin's own"


async def test_a_request_that_comes_to_nothing_is_an_error_without_its_message(plugin: Plugin) -> None:
    plugin.tracing, spans = recording()

    async def nowhere(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    plugin.resolve = nowhere
    assert await refused(plugin.api().fetch(plugin.receiver.url())) == "address_refused"
    (sent,) = spans.get_finished_spans()
    assert sent.attributes is not None
    assert sent.attributes["error.type"] == "AddressRefused"
    assert sent.status.description is None
