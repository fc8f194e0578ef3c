"""Installations as the registry publishes them, for the directories of the measurements."""

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count

from bench.broker import Broker
from bench.workload import ORGANIZATION
from outlet import signing
from outlet.package import Package
from outlet.signing import Statement
from services.common.directory import REVISION_HEADER, Installation, encode_installation
from services.common.kafka import open_producer
from services.common.provenance import Provenance
from services.common.topics import Topic

_numbers = count(1)


def installed(plugin: Package, organization: str = ORGANIZATION, store: str | None = None) -> Installation:
    """An active installation of a plugin, for an organization or one of its stores."""
    return Installation(
        id=f"{plugin.manifest.plugin_id}-{organization}-{store or 'all'}",
        revision=1,
        plugin_id=plugin.manifest.plugin_id,
        version=plugin.manifest.version,
        digest=plugin.digest,
        organization_id=organization,
        store_id=store,
        status="active",
        config={},
        grants=(),
        manifest=plugin.manifest,
        provenance=_signed(Statement.of(plugin)),
    )


@cache
def _signed(statement: Statement) -> Provenance:
    key = signing.new_key()
    return Provenance(signature=signing.sign(statement, key), public_key=signing.public_part(key))


def idle(plugin: Package, number: int) -> Iterator[Installation]:
    """So many installations that hear of no event here: half of them are other organizations', half other stores'."""
    for index in range(number):
        if index % 2:
            yield installed(plugin, store=f"idle-{index}")
        else:
            yield installed(plugin, organization=f"idle-{index}")


async def publish(broker: Broker, installations: Iterable[Installation]) -> str:
    """Make a directory of these; the name of its topic."""
    topic = Topic(f"bench.directory.{next(_numbers)}", "a directory", cleanup="compact", partitions=1)
    await broker.make_topic(topic)
    async with open_producer(broker.bootstrap) as producer:
        sent = []
        for revision, each in enumerate(installations, start=1):
            headers = [(REVISION_HEADER, str(revision).encode())]
            value = encode_installation(each)
            sent.append(await producer.send(topic.name, value, each.id.encode(), partition=0, headers=headers))
        for acknowledgement in sent:
            await acknowledgement
    return topic.name
