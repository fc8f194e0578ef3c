"""One call of a handler in memory: its transaction, and what answers its API calls."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from outlet import _json, _values
from outlet._api import Api, with_secrets
from outlet._calls import SAVEPOINT, RouteResult
from outlet._frames import MAX_MESSAGE, MAX_PAYLOAD, ApiReply, Call, Failure
from outlet._guest.program import Program
from outlet._guest.transport import InvocationTransport
from outlet._rules.refusal import ApiRefusal
from outlet.testing._calls import PluginCalls
from outlet.testing._data import KeyValues
from outlet.testing._fetching import Fetch
from outlet.testing._groups import Arguments, Group, Method, method
from outlet.testing._messages import Configuration, Jobs, Messages, Validation
from outlet.testing._models import Models, Places
from outlet.testing._observed import Kind, PluginFailed
from outlet.testing._store import AlreadyDone, DataRefused, InboxKey, Transaction
from outlet.testing._tables import CustomTables
from outlet.testing._webhooks import Webhooks

if TYPE_CHECKING:
    from outlet.testing._installation import InstalledPlugin

_route_result = msgspec.msgpack.Decoder(RouteResult)


class Nothing(Arguments):
    """No arguments."""


class Savepoints(Group):
    """Transactions within the call's own."""

    @method("transactions.begin", Nothing)
    async def begin(self, _: Nothing) -> int:
        return self.work.begin(self.savepoint)

    @method("transactions.commit", Nothing)
    async def commit(self, _: Nothing) -> None:
        self.work.end(self.savepoint, keep=True)

    @method("transactions.rollback", Nothing)
    async def rollback(self, _: Nothing) -> None:
        self.work.end(self.savepoint, keep=False)


GROUPS: tuple[type[Group], ...] = (
    Configuration,
    CustomTables,
    Fetch,
    Jobs,
    KeyValues,
    Messages,
    Models,
    Places,
    PluginCalls,
    Savepoints,
    Validation,
    Webhooks,
)
METHODS: dict[str, Method] = {name: found for group in GROUPS for name, found in group.methods.items()}
EFFECTS = ("emitted", "published", "notices")


@dataclass
class Invocation:
    """``source`` and ``id`` name the cause; with the target they make it unique. ``seconds``: its wall time."""

    plugin: "InstalledPlugin"
    kind: Kind
    target: str
    source: str
    id: str
    store: str | None
    payload: bytes
    seconds: float
    callers: tuple[str, ...] = ()
    config: dict[str, Any] | None = None
    """The whole configuration once the call has changed it."""
    unread: dict[int, bytes] = field(default_factory=dict)
    _left: int = 0

    @property
    def key(self) -> InboxKey:
        return (self.plugin.id, self.target, self.source, self.id)

    def leave(self, work: Transaction, kind: str, effect: Any) -> None:
        """Let something happen when the call is committed."""
        self._left += 1
        work.put(("effects", self.plugin.id, kind), self._left, effect)

    async def run(self) -> bytes:
        """Run the handler to its end and keep what it did. Raises PluginFailed, and nothing is kept then."""
        work = Transaction(self.plugin.platform.store, self.key)
        session = Session(self, work)
        result = await session.run()
        if isinstance(work.failure, AlreadyDone):
            return work.failure.result
        if isinstance(result, PluginFailed):
            raise result
        if self.kind == "route" and _route_result.decode(result).undo:
            return result
        try:
            work.commit(result)
        except ApiRefusal as error:
            what = f"the call ended although a database operation failed: {work.failure}"
            raise PluginFailed("plugin_bad_result", what) from error
        self._committed()
        return result

    def _committed(self) -> None:
        store, observed = self.plugin.platform.store, self.plugin.observed
        for kind in EFFECTS:
            left = store.collections.pop(("effects", self.plugin.id, kind), {})
            getattr(observed, kind).extend(left.values())
            self.plugin.platform.happened(self.plugin, kind, list(left.values()))
        if self.config is not None:
            self.plugin.config = self.config


class Session:
    """Carries the API calls of one handler, as the platform's streams do, and answers them."""

    def __init__(self, invocation: Invocation, work: Transaction) -> None:
        self._invocation = invocation
        self._work = work
        self._groups: dict[type[Group], Group] = {}
        self._requests: set[asyncio.Task[None]] = set()
        self._notices: set[asyncio.Task[None]] = set()
        self._defect: BaseException | None = None
        self._limited: ApiRefusal | None = None

    async def run(self) -> bytes | PluginFailed:
        """What the handler answered, or how it failed. Raises what the kit itself has to say."""
        invocation, plugin = self._invocation, self._invocation.plugin
        transport = InvocationTransport(self, 1)
        config = with_secrets(_json.exact(plugin.config), sorted(plugin.secrets))
        api = Api(transport, organization=plugin.organization, store=plugin.store, config=config)
        program = _Program(plugin.plugin, plugin.paths)
        call = Call(1, invocation.kind, invocation.target, 1, b"")
        try:
            async with asyncio.timeout(invocation.seconds) as deadline:
                result = await program.run(call, invocation.payload, api)
        finally:
            transport.end()
            left_running = bool(self._requests)
            if waiting := self._requests | self._notices:
                await asyncio.wait(waiting)
        if self._defect is not None:
            raise self._defect
        if deadline.expired():
            return PluginFailed("plugin_timeout", f"no result within {invocation.seconds:g} s (the time limit)")
        if result.failure is not None:
            return self._failed(result.failure, program.raised)
        if left_running:
            return PluginFailed(
                "plugin_bad_result", "the call ended while an API call of it still ran: await every one"
            )
        return result.payload

    def send_call(self, invocation: int, method: str, arguments: bytes) -> "asyncio.Future[ApiReply]":
        """Take one API call; the future gets its answer."""
        answer: asyncio.Future[ApiReply] = asyncio.get_running_loop().create_future()
        self._start(self._answer(answer, method, arguments), self._requests)
        return answer

    def send_notice(self, invocation: int, method: str, arguments: bytes) -> None:
        """Take one API call that gets no answer."""
        answer: asyncio.Future[ApiReply] = asyncio.get_running_loop().create_future()
        self._start(self._answer(answer, method, arguments), self._notices)

    def _start(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)

    def _failed(self, failure: Failure, raised: BaseException | None) -> PluginFailed:
        code, message = failure.code, failure.message
        found = PluginFailed(code, message, failure.stack)
        if self._limited is not None and code == "plugin_raised":
            found = PluginFailed("plugin_rate_limited", self._limited.message, failure.stack)
        found.__cause__ = raised
        return found

    async def _answer(self, answer: "asyncio.Future[ApiReply]", method: str, arguments: bytes) -> None:
        try:
            encoded = _values.encode(await self._call(method, _values.decode(arguments)))
            reply = ApiReply(1, encoded)
            if len(encoded) > MAX_PAYLOAD:
                detail = f"the answer has {len(encoded)} bytes; at most {MAX_PAYLOAD} are allowed: ask for fewer rows"
                reply = ApiReply(1, b"", ("answer_too_large", detail))
        except ApiRefusal as refusal:
            reply = ApiReply(1, b"", (refusal.code, refusal.message[:MAX_MESSAGE]))
        except BaseException as error:  # noqa: BLE001  the kit's own word to the test, whatever the plugin makes of it
            self._defect = error
            reply = ApiReply(1, b"", ("platform_failed", "the platform could not do this now"))
        if not answer.done():
            answer.set_result(reply)

    async def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        try:
            self._invocation.plugin.take_call()
        except ApiRefusal as refusal:
            self._limited = refusal
            raise
        found = METHODS.get(name)
        if found is None:
            raise ApiRefusal("unknown_method", f"the Plugin API has no {name!r:.80}")
        savepoint = arguments.pop(SAVEPOINT, 0)
        try:
            call = msgspec.convert(arguments, found.arguments)
        except msgspec.ValidationError as error:
            raise ApiRefusal("invalid_arguments", f"{name}: {error}") from error
        group = self._groups.get(found.group)
        if group is None:
            plugin = self._invocation.plugin
            group = self._groups[found.group] = found.group(plugin.platform, self._invocation, self._work)
        group.savepoint = savepoint
        try:
            return await found.answer(group, call)
        except DataRefused as refusal:
            self._work.doom(refusal)
            raise


class _Program(Program):
    """Remembers what the plugin raised, so that a test shows it with its own traceback."""

    raised: BaseException | None = None

    def _failure(self, error: BaseException) -> Failure:
        self.raised = error
        return super()._failure(error)
