"""Which addresses plugins can reach, checked where the connection is made.

A name is looked up once, every address of the answer is checked, and the connection goes to an address that was
checked: a name that answers differently the next time (DNS rebinding) changes nothing. TLS still verifies the name.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import anyio
import httpcore

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to the texts of its addresses. Raises OSError when there are none."""
SocketOption: TypeAlias = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

SECONDS_PER_ADDRESS = 3.0
MAX_ADDRESSES = 4
RESOLVER_THREADS = 32
THREADS_PER_DOMAIN = 8

# IANA's special-purpose registry (RFC 6890), and 168.63.129.16, where Azure serves its virtual machines from.
_SPECIAL_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only 2000::/3 is assigned for the internet. Outside it are mapped, compatible, NAT64, local and multicast addresses;
# within it lie Teredo (2001::/32), 6to4 (2002::/16) and documentation.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_ISATAP = (0x00005EFE, 0x02005EFE)  # the upper half of an interface identifier that embeds an IPv4 address


_OPENABLE = tuple(
    ip_network(network)
    for network in (
        *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
        *("::1/128", "fc00::/7"),
    )
)
"""Where an operator's own services can be (RFC 1918, 4193, 6598), and this machine itself."""
# Where clouds tell their machines credentials from, within networks that an operator may open. Link-local is in none.
_METADATA = frozenset(map(ip_address, ("100.100.100.200", "fd00:ec2::254", "fd00:42::42", "fd20:ce::254")))


def openable(network: Network) -> bool:
    """Whether an operator may open a network to plugins: a private one, never link-local, multicast or embedded."""
    ends = (network.network_address, network.broadcast_address)
    return any(all(end in outer for end in ends) for outer in _OPENABLE if outer.version == network.version)


class AddressRefused(Exception):
    """A name that leads to an address which plugins must not reach. Does not say which: no plugin's business."""


class Guard:
    """Decides on addresses: public unicast ones and those in networks ``allowed``, less what is ``denied``.

    Of ``allowed`` networks only private ones open anything; the addresses that cloud metadata is served from stay shut.
    ``loopback`` is for tests, whose receivers are on this machine: it allows loopback addresses and plain http.
    """

    def __init__(
        self, *, denied: Iterable[Network] = (), allowed: Iterable[Network] = (), loopback: bool = False
    ) -> None:
        self._denied = tuple(denied)
        self._allowed = tuple(network for network in allowed if openable(network))
        self.loopback = loopback

    def allows(self, address: Address) -> bool:
        """Whether a connection to ``address`` may be made."""
        if self.loopback and address.is_loopback:
            return True
        if _within(address, self._denied) or address in _METADATA:
            return False
        if _within(address, self._allowed):
            return True
        if isinstance(address, IPv4Address):
            return not _within(address, _SPECIAL_IPV4)
        return (
            address.scope_id is None
            and address in _PUBLIC_IPV6
            and not _within(address, _SPECIAL_IPV6)
            and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
        )


class SystemResolver:
    """The machine's own resolver, on threads of its own.

    A look-up cannot be stopped, so name servers that do not answer keep threads busy after everybody has gone. Names of
    one domain get a part of the threads only: its owner cannot keep others from theirs.
    """

    def __init__(self, look_up: Callable[[str, int], list[str]] | None = None) -> None:
        self._look_up = look_up or _look_up
        self._threads = ThreadPoolExecutor(RESOLVER_THREADS, thread_name_prefix="outbound-resolver")
        self._running: Counter[str] = Counter()

    async def __call__(self, host: str, port: int) -> list[str]:
        domain = ".".join(host.lower().split(".")[-2:])
        if self._running[domain] >= THREADS_PER_DOMAIN:
            raise OSError("too many look-ups of this domain have no answer yet")
        self._running[domain] += 1
        found = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
        found.add_done_callback(partial(self._ended, domain))
        # Whoever stops waiting does not end the look-up: its thread stays taken, and counted.
        return list(dict.fromkeys(await asyncio.shield(found)))

    def close(self) -> None:
        """Take no more look-ups; those that run end in their own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ended(self, domain: str, found: "asyncio.Future[list[str]]") -> None:
        self._running[domain] -= 1
        if not self._running[domain]:
            del self._running[domain]
        if not found.cancelled():
            found.exception()  # known to whoever waited, if anybody still did


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Makes httpcore's connections, to addresses that the guard allows."""

    def __init__(self, guard: Guard, resolve: Resolver) -> None:
        self._guard = guard
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Look up, check, connect. Raises AddressRefused, httpcore.ConnectError or httpcore.ConnectTimeout."""
        try:
            with anyio.fail_after(timeout):
                addresses = await self._checked(host, port)
                return await self._first_that_answers(addresses, port, local_address, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout("no connection in time") from None

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("plugins reach no sockets of this machine")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[Address]:
        try:
            addresses = [ip_address(found) for found in await self._resolve(host, port)]
        except (OSError, ValueError) as error:  # ValueError: UnicodeError of a name, or an answer that is no address
            raise httpcore.ConnectError("the name cannot be looked up") from error
        if not addresses:
            raise httpcore.ConnectError("the name has no address")
        # All of them: an answer that mixes inside and outside is an attempt.
        if not all(self._guard.allows(address) for address in addresses):
            raise AddressRefused(f"{host} does not lead to a public address")
        return addresses

    async def _first_that_answers(
        self,
        addresses: list[Address],
        port: int,
        local_address: str | None,
        socket_options: Iterable[SocketOption] | None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError("no address was tried")
        for address in addresses[:MAX_ADDRESSES]:
            try:
                stream = await self._network.connect_tcp(
                    str(address), port, SECONDS_PER_ADDRESS, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            peer = stream.get_extra_info("server_addr")
            if ip_address(peer[0]) != address:
                await stream.aclose()
                raise AddressRefused("the connection led elsewhere than to the address that was checked")
            return stream
        raise failure


def _within(address: Address, networks: Iterable[Network]) -> bool:
    # An address of version 6 with a zone (fe80::1%eth0) is in no network: it means something else on each machine.
    return any(address in network for network in networks if network.version == address.version)


def _look_up(host: str, port: int) -> list[str]:
    if host.lower().rstrip(".").endswith(".localhost"):
        host = "localhost"  # this machine, whatever a name server says (RFC 6761, 6.3)
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
