"""What the run came to, read from where the effects are: the plugins' tables, the topics, the receiver."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import asyncpg
import msgspec

from outlet.local.scenario import PLUGIN_ID
from services.common.events import read_event
from services.common.topics import DEAD_LETTERS, INSTALLATIONS, PLUGIN_EVENTS
from services.runtime.isolation import act_as_platform
from tests.chaos import plugins
from tests.chaos.grounds import BYSTANDER, Grounds
from tests.e2e.topics import read_topic

AWARDS = (f"{PLUGIN_ID}/points-earned", f"{PLUGIN_ID}/points-reversed")

_PROCESSED = 'SELECT event FROM plugin_data."chaos_caller__calls" WHERE event = ANY($1::text[])'
_MOVEMENTS = (
    'SELECT sale_id, count(*) FROM plugin_data."loyalty_points__transactions" WHERE installation_id = $1 GROUP BY 1'
)
_BALANCES = 'SELECT customer_id, points FROM plugin_data."loyalty_points__accounts" WHERE installation_id = $1'
_CALLS = 'SELECT event, count(*) FROM plugin_data."chaos_caller__calls" GROUP BY 1'
_EFFECTS = 'SELECT event, count(*) FROM plugin_data."chaos_failing__effects" GROUP BY 1'
_TICKS = 'SELECT planned, count(*) FROM plugin_data."chaos_caller__ticks" GROUP BY 1'


@dataclass(slots=True)
class Findings:
    """Effects, counted. Events and sales by id."""

    movements: Counter[str] = field(default_factory=Counter)
    """Rows of the points ledger by sale."""
    balances: dict[str, int] = field(default_factory=dict)
    """Points by customer."""
    announced: dict[str, set[str]] = field(default_factory=dict)
    """Ids of the events that tell of a sale's points, by sale."""
    calls: Counter[str] = field(default_factory=Counter)
    """Rows of the calling plugin by event."""
    keys: dict[str, set[str]] = field(default_factory=dict)
    """Different idempotency keys under which the receiver was told of an event."""
    effects: Counter[str] = field(default_factory=Counter)
    """Rows of the failing plugin by event."""
    letters: Counter[str] = field(default_factory=Counter)
    """Dead letters of the failing plugin by event."""
    other_letters: Counter[str] = field(default_factory=Counter)
    """Dead letters that nobody has deserved, by plugin and reason."""
    ticks: Counter[datetime] = field(default_factory=Counter)
    """Rows by the planned time of the tick."""
    settings: Counter[int] = field(default_factory=Counter)
    """How often each setting of the bystander was published."""
    requests_repeated: int = 0
    announcements_repeated: int = 0

    @property
    def letters_repeated(self) -> int:
        """Dead letters beyond the first of an event: publishing is at least once."""
        return sum(count - 1 for count in self.letters.values())


@asynccontextmanager
async def watching(grounds: Grounds) -> AsyncIterator[Callable[[list[str]], Awaitable[list[str]]]]:
    """Gives a function that tells which of some events have had their effect, by the table of the calling plugin.

    It raises DATABASE_ERRORS, and so does entering.
    """
    connection = await _connect(grounds)

    async def processed(events: list[str]) -> list[str]:
        async with connection.transaction():
            await act_as_platform(connection)
            return [row["event"] for row in await connection.fetch(_PROCESSED, events)]

    try:
        yield processed
    finally:
        connection.terminate()  # its server may be gone


async def look(grounds: Grounds) -> Findings:
    """Read everything. All parts must be up."""
    found = Findings()
    await _read_tables(grounds, found)
    await _read_topics(grounds, found)
    found.keys = {event: set(keys) for event, keys in grounds.told.keys.items()}
    found.requests_repeated = grounds.told.repeated
    return found


async def _connect(grounds: Grounds) -> asyncpg.Connection:
    return await asyncpg.connect(grounds.stack.database_urls["runtime"], timeout=5)


async def _read_tables(grounds: Grounds, found: Findings) -> None:
    loyalty = grounds.installations[PLUGIN_ID]
    connection = await _connect(grounds)
    try:
        async with connection.transaction():
            await act_as_platform(connection)
            found.movements = _counted(await connection.fetch(_MOVEMENTS, loyalty))
            found.balances = dict(map(tuple, await connection.fetch(_BALANCES, loyalty)))
            found.calls = _counted(await connection.fetch(_CALLS))
            found.effects = _counted(await connection.fetch(_EFFECTS))
            found.ticks = Counter(dict(map(tuple, await connection.fetch(_TICKS))))
    finally:
        await connection.close()


def _counted(rows: "list[asyncpg.Record]") -> Counter[str]:
    return Counter({row[0]: row[1] for row in rows})


async def _read_topics(grounds: Grounds, found: Findings) -> None:
    bootstrap = grounds.kafka.bootstrap
    told: defaultdict[str, set[str]] = defaultdict(set)
    for record in await read_topic(bootstrap, PLUGIN_EVENTS.name):
        event = read_event(record.headers, record.value)
        if event.type in AWARDS:
            sale = msgspec.json.decode(event.data)["saleId"]
            found.announcements_repeated += event.id in told[sale]
            told[sale].add(event.id)
    found.announced = dict(told)
    for record in await read_topic(bootstrap, DEAD_LETTERS.name):
        headers = _texts(record.headers)
        if headers.get("outlet_installation") == grounds.installations[plugins.FAILING]:
            found.letters[headers["ce_id"]] += 1
        else:
            found.other_letters[f"{headers.get('outlet_plugin', '-')}: {headers['outlet_code']}"] += 1
    bystander = grounds.installations[BYSTANDER].encode()
    for record in await read_topic(bootstrap, INSTALLATIONS.name):
        if record.key == bystander and record.value is not None:
            found.settings[int(msgspec.json.decode(record.value)["config"].get("pointsPerDollar", 0))] += 1


def _texts(headers: "tuple[tuple[str, bytes], ...]") -> Mapping[str, str]:
    return {name: content.decode() for name, content in headers}
