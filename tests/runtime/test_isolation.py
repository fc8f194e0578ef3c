"""Three organizations in one database, and plugins that forge every argument: nobody ever sees or touches another's.

The same holds when the query builders scope nothing at all, because row-level security stands under them; that the
attack would succeed without both walls is shown as well, so that silence means something.
"""

import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

import asyncpg
import pytest

from outlet.manifest import PERMISSIONS, HookDeclaration, JobDeclaration
from services.common.database import DATABASE_ERRORS
from services.common.directory import Directory, Installation
from services.common.events import DomainEvent
from services.common.setting_changes import decode_change
from services.common.topics import CONFIGURATION
from services.runtime.commerce import projector
from services.runtime.delivery import unit_of_work
from services.runtime.delivery.unit_of_work import TransactionDoomed, UnitOfWork
from services.runtime.invocation import Invocation, source_of
from services.runtime.isolation import Scope
from services.runtime.plugin_api import scoping
from services.runtime.plugin_api.entities import Entities
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Context
from services.runtime.plugin_api.models import Models
from services.runtime.plugin_api.session import PluginApiSession
from tests.runtime.forgery import ENTITY_IDS, MODELS, Forger
from tests.runtime.installations import installation
from tests.runtime.plugin_api.sessions import Calls
from tests.runtime.resources import resources

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CALLS = 10_000
PER_INVOCATION = 12
PLACES = [(organization, store) for organization in ("acme", "globex", "initech") for store in ("s1", "s2")]
CODES = {place: 10 ** (4 * number) for number, place in enumerate(PLACES)}
"""The amounts of each place have decimal digits of their own: a sum tells of every place that is in it."""
MARK = re.compile(r"leak:([\w-]+):([\w*]+):")
ACCOUNTS = {
    "columns": {
        "owner": {"type": "text"},
        "points": {"type": "integer", "default": 0},
        "amount": {"type": "decimal", "default": "0"},
        "mark": {"type": "text", "default": ""},
    },
    "unique": [["owner"]],
}
JOB = JobDeclaration(name="accounts")


def shop(organization: str, store: str | None = None, plugin: str = "shop") -> Installation:
    hooks = (HookDeclaration(event="sale.created"),)
    grants = tuple(PERMISSIONS)
    return installation(plugin, organization, store, grants=grants, hooks=hooks, jobs=(JOB,))


def document(place: tuple[str, str], entity: str) -> bytes:
    secret = f"leak:{place[0]}:{place[1]}:{entity}"
    nested = {"secret": secret, "amount": CODES[place]}
    members = {"secret": secret, "name": secret, "tags": [secret], "amount": str(CODES[place]), "nested": nested}
    return json.dumps({"id": entity, **members}).encode()


@dataclass
class Actor:
    """An installation that attacks, and what it was shown that it may not see."""

    found: Installation
    outcomes: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)

    @property
    def mark(self) -> str:
        return f"leak:{self.found.id}:*:"

    def owns(self, organization: str, store: str) -> bool:
        return organization == self.found.organization_id and self.found.store_id in (None, store)

    def check(self, call: tuple[str, dict[str, Any]], answer: Any) -> None:
        """Note an answer that has anything of somebody else in it."""
        marked = [owner == self.found.id or self.owns(owner, store) for owner, store in MARK.findall(repr(answer))]
        rows = answer if call[0].endswith(".aggregate") and isinstance(answer, list) else []
        if not all(marked) or not all(map(self._adds_up, rows)):
            self.leaks.append(f"{call}: {answer!r:.500}")

    def _adds_up(self, row: dict[str, Any]) -> bool:
        totals = [row.get(name) for name in ("sum_amount", "min_amount", "max_amount")]
        return all(
            self.owns(*place)
            for place in PLACES
            for total in totals
            if isinstance(total, int | Decimal) and int(total) // CODES[place] % 10_000
        )


class World:
    """A database full of marked rows, two installations that attack, and everybody else."""

    def __init__(self, pool: Pool, platform: Pool) -> None:
        self.pool = pool
        self.platform = platform
        self.actors = [Actor(shop("acme")), Actor(shop("globex", "s1"))]
        self.bystanders = [shop("initech"), shop("globex", "s2"), shop("acme", plugin="other")]
        directory = Directory()
        for found in (*(actor.found for actor in self.actors), *self.bystanders):
            directory.put(found)
        self.resources = resources(directory=directory)

    async def fill(self) -> None:
        events = [
            DomainEvent("e", f"{model}.created", "urn:pos", "2026-11-01T12:00:00Z", *place, document(place, entity))
            for model in MODELS
            for place in PLACES
            for entity in ENTITY_IDS
        ]
        async with self.pool.acquire() as connection:
            await projector.apply(connection, [change for one in events if (change := projector.read_change(one))])
        calls = Calls(self.pool, directory=self.resources.directory)
        for found in (*(actor.found for actor in self.actors), *self.bystanders):
            store = found.store_id or "s1"
            mark = f"leak:{found.id}:{store}:"
            amount = Decimal(CODES[found.organization_id, store])
            await calls(
                found,
                ("tables.define", {"name": "accounts", "definition": ACCOUNTS}),
                *(
                    ("tables.create", {"table": "accounts", "values": {"owner": name, "mark": mark, "amount": amount}})
                    for name in ENTITY_IDS
                ),
                *(("data.set", {"key": name, "value": mark}) for name in ENTITY_IDS),
                ("jobs.enqueue", {"name": "accounts", "payload": mark, "delay": 1e6}),
                kind="lifecycle",
            )

    async def untouched(self) -> dict[str, str]:
        """What the rows of everybody else are, by table."""
        attackers = [actor.found.id for actor in self.actors]
        tables = await self.platform.fetch(
            "SELECT a.attrelid::regclass::text AS name, array_agg(a.attname::text) AS columns FROM pg_attribute a "
            "JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname IN ('public', 'plugin_data') "
            "AND a.attname IN ('organization_id', 'store_id', 'installation_id') GROUP BY 1"
        )
        state = {}
        for table in tables:
            if "installation_id" in table["columns"]:
                where, arguments = "NOT installation_id = ANY($1)", [attackers]
            else:
                where, arguments = "organization_id <> 'acme' AND (organization_id, store_id) <> ('globex', 's1')", []
            rows = await self.platform.fetch(f"SELECT t::text FROM {table['name']} t WHERE {where}", *arguments)  # noqa: S608
            state[table["name"]] = "\n".join(sorted(row["t"] for row in rows))
        return state

    async def attack(self, calls: int, seed: int) -> None:
        """Let the attackers make so many calls, an invocation's worth at a time."""
        others = [found.id for found in self.bystanders]
        names = ["acme", "globex", "initech", "s1", "s2", "*", *others, *(actor.found.id for actor in self.actors)]
        names += ["globex/s2/e0", "initech/s1/e0", "leak:initech", 'plugin_data."other__accounts"', "../initech"]
        names += ["x' OR '1'='1", "e0'; SET outlet.platform = 'on'; --", "public.inbox", "accounts"]
        forger = Forger(seed, names)
        made = 0
        while made < calls:
            made += await self._invoke(forger, forger.choose(self.actors))

    async def _invoke(self, forger: Forger, actor: Actor) -> int:
        kind = "lifecycle" if forger.chance(0.05) else "hook"
        store = actor.found.store_id or forger.choose(["s1", "s2"])
        cause = uuid.uuid4().hex
        invocation = Invocation(actor.found, kind, "sale.created", "urn:test", cause, store, b"", 5.0)  # type: ignore[arg-type]
        work = UnitOfWork(self.pool, invocation.key, invocation.scope)
        session = PluginApiSession(Context(invocation, work, self.resources))
        made = 0
        try:
            while made < PER_INVOCATION and work.failure is None:
                call = forger.call(actor.mark)
                made += 1
                try:
                    answer = await session(*call)
                except ApiRefusal as refusal:
                    actor.check(call, refusal.message)
                    actor.outcomes[refusal.code] += 1
                except DATABASE_ERRORS as error:  # the plugin is told no more than that the database could not do this
                    actor.outcomes[type(error).__name__] += 1
                else:
                    actor.check(call, answer)
                    actor.outcomes["answered"] += 1
                    forger.remember(answer)
            if work.failure is None:
                await work.commit()
        except TransactionDoomed:
            actor.outcomes["doomed"] += 1
        finally:
            await work.rollback()
        return made

    def is_own_change(self, key: str, value: bytes) -> bool:
        """Whether a change of settings is for one installation, of its own organization, by nobody else."""
        change = decode_change(value)
        found = {actor.found.id: actor.found for actor in self.actors}.get(change.installation_id)
        makers = {owner for owner, _ in MARK.findall(value.decode())} & {actor.found.id for actor in self.actors}
        return (
            found is not None
            and (key, change.organization_id) == (found.id, found.organization_id)
            and makers <= {found.id}
        )

    async def published_for_others(self) -> list[str]:
        """What in the outbox says of a place or an installation something that its source has no part in."""
        wrong = []
        by_source = {source_of(actor.found): actor for actor in self.actors}
        for row in await self.pool.fetch("SELECT topic, key, value, headers FROM outbox"):
            if row["topic"] == CONFIGURATION.name:
                if not self.is_own_change(row["key"], row["value"]):
                    wrong.append(row["value"].decode())
                continue
            headers = json.loads(row["headers"])
            actor = by_source.get(headers["ce_source"])
            if actor is None or not actor.owns(headers["ce_organization"], headers["ce_store"]):
                wrong.append(row["headers"])
        return wrong


@pytest.fixture
async def world(runtime_pool: Pool, platform_pool: Pool) -> World:
    made = World(runtime_pool, platform_pool)
    await made.fill()
    return made


def unscoped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The query builders scope nothing, and what they insert says another organization."""
    monkeypatch.setattr(scoping, "installation_rows", lambda *_: "TRUE")
    monkeypatch.setattr(scoping, "entity_rows", lambda *_: "TRUE")
    honest = Models._entities

    def forged(self: Models, *arguments: Any) -> Entities:
        entities = honest(self, *arguments)
        entities._scope = Scope("initech", "*", self.installation.id)
        return entities

    monkeypatch.setattr(Models, "_entities", forged)


async def assert_nothing_leaks(world: World, calls: int) -> None:
    before = await world.untouched()
    await world.attack(calls, seed=1)
    assert [leak for actor in world.actors for leak in actor.leaks] == []
    assert await world.untouched() == before
    assert await world.published_for_others() == []
    assert all(actor.outcomes["answered"] > calls / 10 for actor in world.actors), world.actors


async def test_forged_arguments_reach_nobody_elses_data(world: World) -> None:
    await assert_nothing_leaks(world, CALLS)


async def test_row_level_security_alone_holds_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unscoped(monkeypatch)
    await assert_nothing_leaks(world, CALLS)
    refused = sum((actor.outcomes["InsufficientPrivilegeError"] for actor in world.actors), 0)
    assert refused > 0, "what was to be written for another organization was not even tried"


async def test_without_both_walls_the_same_attack_succeeds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    unscoped(monkeypatch)
    for name in ("ENTER", "_ENTER_AND_CLAIM"):
        open_door = getattr(unit_of_work, name).replace(
            "set_config('outlet.platform', ''", "set_config('outlet.platform', 'on'"
        )
        monkeypatch.setattr(unit_of_work, name, open_door)
    before = await world.untouched()
    await world.attack(500, seed=1)
    assert all(actor.leaks for actor in world.actors)
    assert await world.untouched() != before
