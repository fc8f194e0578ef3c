"""Where a plugin's requests may not go, whatever name or answer leads there."""

import asyncio
import ipaddress
import threading
from collections.abc import AsyncIterator

import httpcore
import pytest
import pytest_asyncio
from pydantic import ValidationError

from services.common.secret_settings import new_key
from services.runtime.outbound.guard import AddressRefused, Guard, GuardedNetwork, SystemResolver
from services.runtime.settings import RuntimeSettings

INSIDE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104  connects to this machine
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # compatible
    "::ffff:127.0.0.1",  # mapped
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",  # translated
    "64:ff9b::127.0.0.1",  # NAT64
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "2002:7f00:1::",  # 6to4
    "2001:0:7f00:1::",  # Teredo
    "2001:db8::1",
    "2001:10::1",
    "3fff::1",
    "5f00::1",
    "100::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
    "2a00:1450::5efe:7f00:1",  # ISATAP
    "2a00:1450::200:5efe:a00:1",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"]


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused(address: str) -> None:
    assert not Guard().allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_allowed(address: str) -> None:
    assert Guard().allows(ipaddress.ip_address(address))


def test_what_the_operator_denies_is_refused_too() -> None:
    guard = Guard(denied=[ipaddress.ip_network("8.8.0.0/16")])
    assert not guard.allows(ipaddress.ip_address("8.8.8.8"))
    assert guard.allows(ipaddress.ip_address("1.1.1.1"))


OPENED = [ipaddress.ip_network(network) for network in ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "fc00::/7")]


@pytest.mark.parametrize("address", ["10.1.2.3", "100.64.0.1", "127.0.0.1", "fc00::1", "1.1.1.1"])
def test_a_private_network_that_the_operator_opens_is_allowed_beside_the_public_ones(address: str) -> None:
    assert Guard(allowed=OPENED).allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["192.168.1.1", "172.16.0.1", "::1", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_no_other_network_is_opened_along(address: str) -> None:
    assert not Guard(allowed=OPENED).allows(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"),
        *("0.1.2.3", "224.0.0.1", "255.255.255.255", "::ffff:169.254.169.254", "fd20:ce::254", "fe80::1%lo", "ff02::1"),
    ],
)
def test_no_setting_opens_what_clouds_tell_their_machines_secrets_from(address: str) -> None:
    everything = [ipaddress.ip_network(network) for network in ("0.0.0.0/0", "::/0", "169.254.0.0/16", "fe80::/10")]
    assert not Guard(allowed=[*everything, *OPENED]).allows(ipaddress.ip_address(address))


def test_what_is_denied_stays_shut_within_what_is_opened() -> None:
    guard = Guard(allowed=OPENED, denied=[ipaddress.ip_network("10.9.0.0/16")])
    assert guard.allows(ipaddress.ip_address("10.8.0.1"))
    assert not guard.allows(ipaddress.ip_address("10.9.0.1"))


NEEDED = {
    "kafka_bootstrap": "k:1",
    "runtime_database_url": "postgresql://",
    "redis_url": "redis://",
    "registry_url": "http://",
    "secret_keys": new_key(),
}


@pytest.mark.parametrize("network", ["169.254.0.0/16", "0.0.0.0/0", "8.0.0.0/8", "fe80::/10", "::/0", "10.0.0.0/7"])
def test_a_worker_does_not_start_with_a_network_that_cannot_be_opened(network: str) -> None:
    with pytest.raises(ValidationError, match=f"OUTLET_OUTBOUND_ALLOWED opens private networks only, and {network}"):
        RuntimeSettings.model_validate({**NEEDED, "outbound_allowed": f"10.0.0.0/8, {network}"})


def test_in_production_this_machine_is_never_opened() -> None:
    wanted = {**NEEDED, "outbound_allowed": "127.0.0.0/8"}
    with pytest.raises(ValidationError, match="in production plugins never reach this machine"):
        RuntimeSettings.model_validate(wanted)
    assert len(RuntimeSettings.model_validate({**wanted, "environment": "development"}).allowed_networks) == 1


async def test_names_under_localhost_are_asked_of_nobody() -> None:
    resolver = SystemResolver()
    found = await resolver("a-name-that-nobody-knows.localhost", 443)
    resolver.close()
    assert found
    assert all(ipaddress.ip_address(address).is_loopback for address in found)


class Listener:
    """A service on this machine that must not be reached. ``connections`` counts who got through."""

    def __init__(self) -> None:
        self.connections = 0
        self.port = 0

    async def met(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@pytest_asyncio.fixture(loop_scope="session")
async def listener() -> AsyncIterator[Listener]:
    found = Listener()
    server = await asyncio.start_server(found.met, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def network(*answers: list[str], guard: Guard | None = None) -> GuardedNetwork:
    """A network whose resolver gives one answer after the other, and the last one for ever."""
    left = list(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return GuardedNetwork(guard or Guard(), resolve)


async def test_a_name_that_leads_inside_is_not_connected_to(listener: Listener) -> None:
    for address in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"):  # noqa: S104
        with pytest.raises(AddressRefused):
            await network([address]).connect_tcp("api.example.com", listener.port, timeout=2)
    assert listener.connections == 0


async def test_one_address_inside_among_public_ones_refuses_the_name(listener: Listener) -> None:
    with pytest.raises(AddressRefused):
        await network(["1.1.1.1", "127.0.0.1"]).connect_tcp("api.example.com", listener.port, timeout=2)
    assert listener.connections == 0


async def test_a_name_that_changes_its_answer_is_looked_up_once_and_connected_to_what_was_checked(
    listener: Listener,
) -> None:
    asked: list[str] = []

    async def rebind(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.9"] if len(asked) == 1 else ["127.0.0.1"]

    # Nobody listens on the address that this guard allows, so only a second look-up could reach the listener.
    class Narrow(Guard):
        def allows(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
            return str(address) == "127.0.0.9"

    rebinding = GuardedNetwork(Narrow(), rebind)
    with pytest.raises(httpcore.ConnectError):
        await rebinding.connect_tcp("api.example.com", listener.port, timeout=2)
    assert asked == ["api.example.com"]
    with pytest.raises(AddressRefused):
        await rebinding.connect_tcp("api.example.com", listener.port, timeout=2)
    assert listener.connections == 0


async def test_an_address_in_place_of_a_name_is_checked_as_well(listener: Listener) -> None:
    for host in ("127.0.0.1", "::1", "2130706433", "0x7f.1", "localhost"):
        with pytest.raises((AddressRefused, httpcore.ConnectError)):
            await GuardedNetwork(Guard(), SystemResolver()).connect_tcp(host, listener.port, timeout=2)
    assert listener.connections == 0


async def test_a_domain_that_never_answers_does_not_keep_others_from_being_looked_up() -> None:
    answers = threading.Event()

    def look_up(host: str, port: int) -> list[str]:
        if host.endswith("slow.example"):
            answers.wait(30)
        return ["1.1.1.1"]

    resolve = SystemResolver(look_up)
    slow = [asyncio.create_task(resolve(f"{number}.slow.example", 443)) for number in range(8)]
    await asyncio.sleep(0)
    for task in slow:  # the plugin goes away, the threads stay taken
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    with pytest.raises(OSError, match="no answer yet"):
        await resolve("another.slow.example", 443)
    assert await asyncio.wait_for(resolve("api.example.com", 443), 10) == ["1.1.1.1"]
    answers.set()
    while True:
        try:
            assert await resolve("another.slow.example", 443) == ["1.1.1.1"]
            break
        except OSError:
            await asyncio.sleep(0)
    resolve.close()


async def test_an_answer_that_is_no_address_is_a_failed_look_up() -> None:
    for answer in ([], ["not an address"]):
        with pytest.raises(httpcore.ConnectError):
            await network(answer).connect_tcp("api.example.com", 443, timeout=2)


async def test_a_look_up_that_takes_too_long_is_a_time_out() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(httpcore.ConnectTimeout):
        await GuardedNetwork(Guard(), never).connect_tcp("api.example.com", 443, timeout=0.05)


async def test_the_next_address_is_tried_when_one_does_not_answer(listener: Listener) -> None:
    both = network(["127.0.0.2", "127.0.0.1"], guard=Guard(loopback=True))
    stream = await both.connect_tcp("api.example.com", listener.port, timeout=5)
    await stream.aclose()


async def test_unix_sockets_are_out_of_reach() -> None:
    with pytest.raises(AddressRefused):
        await network(["1.1.1.1"]).connect_unix_socket("/run/outlet.sock")
