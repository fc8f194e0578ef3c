"""The Plugin API as handlers see it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Protocol

from outlet import _background, _columns, _data, _plugin_calls, _transactions
from outlet._fetch import FetchResponse, Secret, fetch
from outlet._models import Models
from outlet._plugin_calls import PluginResponse
from outlet._tables import Table
from outlet._validation import Violation
from outlet._webhooks import Webhooks
from outlet.manifest import Method

Level = Literal["debug", "info", "warning", "error"]


class Transport(Protocol):
    """What carries API calls: to the platform, or to a stand-in in an author's tests."""

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do one call and return its answer. Raises :class:`outlet.ApiError`."""

    def notify(self, method: str, arguments: dict[str, Any]) -> None:
        """Send one call that nobody waits for."""


class Api:
    """The platform, for one call of a handler.

    What a handler does through it is one transaction: kept when the handler returns, undone when it raises. Await
    every call; one that is still running when the handler returns is undone, and so is everything else.

    ``organization`` is the organization's id; ``store`` is the store's when the plugin is installed in one store only.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        organization: str = "",
        store: str | None = None,
        config: Mapping[str, Any] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.organization = organization
        self.store = store
        self._transport = transport
        self._config: Mapping[str, Any] = with_secrets(config or {}, secrets) if secrets else config or {}

    def get_config(self, key: str, default: Any = None) -> Any:
        """The value of a setting as it was when this call began, or as this call has set it.

        A number with a fraction is a Decimal.
        A setting whose schema says ``"format": "secret"`` is a :class:`Secret`: usable in :meth:`fetch`, never seen.
        """
        return self._config.get(key, default)

    def secret(self, name: str) -> Secret:
        """What stands for a secret setting in headers of :meth:`fetch`, which refuses it when it has no value."""
        return Secret(name)

    @property
    def models(self) -> Models:
        """The stores' sales, products, customers, employees and stores: ``await api.models.Product.find(...)``."""
        return Models(self._transport.call)

    async def set_config(self, key: str, value: Any) -> None:
        """Change a setting, when this call is committed; :meth:`get_config` has the new value at once.

        Other calls see it when the registry has taken it over, a moment later. Not within :meth:`transaction`. Raises
        :class:`outlet.ApiError`: ``invalid_config`` (the plugin's settings schema does not allow it),
        ``secret_setting``, ``invalid_value``, ``value_too_large``, ``too_much_to_validate``, ``not_allowed_here``.
        """
        await self._transport.call("config.set", {"key": key, "value": value})
        self._config = {**self._config, key: value}

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str | Secret] | None = None,
        body: bytes | str | None = None,
        json: Any = None,
        timeout: float | None = None,  # noqa: ASYNC109  kept by the platform
        follow_redirects: bool = True,
    ) -> FetchResponse:
        """Send an https request to a host that ``plugin.toml`` declares under ``[[hosts]]`` and that was granted.

        ``json`` is sent as JSON (Decimals as text); ``timeout`` is at most 10 s for everything. The answer has at most
        1 MiB. Any status is an answer; :class:`ApiError` is raised when there is none (``fetch_timeout``,
        ``fetch_failed``) or may be none (``host_not_granted``, ``address_refused``, ``fetch_rate_limited``, ...).

        A request is not undone when the handler fails, and is sent again when the handler is repeated: unless you
        set one, methods that change something carry an ``Idempotency-Key`` that stays the same then. Fetch before you
        read or write data: once you did, your transaction stays open meanwhile.
        """
        return await fetch(
            self._transport.call,
            url,
            method=method,
            headers=headers,
            body=body,
            json=json,
            timeout=timeout,
            follow_redirects=follow_redirects,
        )

    @property
    def webhooks(self) -> Webhooks:
        """Webhooks: events that the platform sends on to receivers outside."""
        return Webhooks(self._transport.call)

    def log(self, level: Level, message: str, **meta: Any) -> None:
        """Write a line to the plugin's log. Does not wait; a line may be lost under load."""
        self._transport.notify("log", {"level": level, "message": message, "meta": meta})

    async def emit(self, event: str, data: Mapping[str, Any]) -> None:
        """Publish the event ``<plugin id>/<event>`` when this call is committed. Decimals become text in its JSON."""
        await self._transport.call("events.emit", {"event": event, "data": dict(data)})

    async def enqueue(
        self, name: str, payload: Any = None, *, delay: float | timedelta | datetime = 0, key: str | None = None
    ) -> str:
        """Run the plugin's own job ``name`` once this call is committed, and return the job's id.

        ``payload`` is any value (JSON, bytes, Decimal, aware datetime) of at most 64 KiB. ``delay`` is seconds, a
        timedelta, or the moment to run at, within a year. ``key``: a job of this name and key is enqueued once only.
        A job that fails is tried again with growing pauses, at most 8 times. Raises :class:`outlet.ApiError`:
        ``unknown_job``, ``payload_too_large``, ``too_many_jobs`` (10,000 wait), ``invalid_delay``, ``invalid_key``.
        """
        return await _background.enqueue(self._transport.call, name, payload, delay, key)

    async def get_data(self, key: str, default: Any = None) -> Any:
        """The value stored under ``key``, or ``default`` when there is none (any more).

        A number with a fraction is a Decimal.
        """
        found = await self._transport.call("data.get", {"key": key})
        return found[0] if found else default

    async def set_data(self, key: str, value: Any, *, expires_in: float | timedelta | None = None) -> None:
        """Store a JSON value under ``key``, for ever or for ``expires_in`` (seconds, or a timedelta).

        Keys have at most 256 characters, values 64 KiB as JSON, an installation 10,000 keys. Raises
        :class:`outlet.ApiError`: ``invalid_key``, ``invalid_value``, ``value_too_large``, ``too_many_keys``.
        """
        arguments = {"key": key, "value": value, "expires_in": _data.seconds(expires_in)}
        await self._transport.call("data.set", arguments)

    async def delete_data(self, key: str) -> bool:
        """Forget a key; whether there was one."""
        return bool(await self._transport.call("data.delete", {"key": key}))

    async def increment_data(
        self, key: str, by: int | Decimal = 1, *, expires_in: float | timedelta | None = None
    ) -> int | Decimal:
        """Add to a number in one atomic step and return the sum; what is absent counts as 0.

        ``expires_in`` is for a key that is new; one that exists keeps its time. Raises :class:`outlet.ApiError`:
        ``not_a_number``, and what :meth:`set_data` raises.
        """
        arguments = {"key": key, "by": by, "expires_in": _data.seconds(expires_in)}
        return await self._transport.call("data.increment", arguments)  # type: ignore[no-any-return]

    async def list_data(self, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> _data.DataPage:
        """Up to ``limit`` (1 to 1,000) keys that begin with ``prefix``, with their values: a mapping, in key order.

        Large values make a page shorter. Pass its ``cursor`` for the next one; None says that there is none.
        """
        arguments = {"prefix": prefix, "limit": limit, "cursor": cursor}
        return _data.page(await self._transport.call("data.list", arguments))

    async def get_store(self, store: str | None = None) -> dict[str, Any] | None:
        """The store this call is about (or another one that the plugin is installed in), as last published.

        It has at least an ``id``; None when the call is about the whole organization. Raises :class:`outlet.ApiError`
        ``wrong_store``.
        """
        return await self._transport.call("places.store", {"store": store})  # type: ignore[no-any-return]

    async def get_organization(self) -> dict[str, Any]:
        """The organization's ``id``, and the ids of its known ``stores`` (those that the plugin is installed in)."""
        return await self._transport.call("places.organization", {})  # type: ignore[no-any-return]

    async def notify(
        self,
        user_id: str,
        *,
        title: str,
        message: str,
        type: Literal["info", "success", "warning", "error"] = "info",  # noqa: A002
    ) -> None:
        """Tell a user something on the screens that are open, once this call is committed. Needs ``notify:send``.

        ``user_id`` is the subject of the user's token. Raises :class:`outlet.ApiError`: ``permission_denied``,
        ``invalid_value``.
        """
        arguments = {"user": user_id, "title": title, "message": message, "type": type}
        await self._transport.call("notices.send", arguments)

    async def call(
        self, plugin_id: str, method: Method, path: str, *, query: Mapping[str, str] | None = None, json: Any = None
    ) -> PluginResponse:
        """Call a route that another plugin exports; this one declares it in ``[[calls]]`` and it is granted.

        The route has a transaction of its own, which stays when this call fails later; a repetition of this call gets
        the first answer again. It must answer within this call's own time. Raises :class:`outlet.ApiError`:
        ``call_not_declared``, ``permission_denied``, ``plugin_not_active``, ``not_exported``, ``invalid_path``,
        ``call_cycle``, ``call_too_deep`` (more than 3), ``call_timeout``, ``call_failed``.
        """
        return await _plugin_calls.call_plugin(self._transport.call, plugin_id, method, path, query, json)

    async def validate(self, data: Any, schema: Mapping[str, Any]) -> list[Violation]:
        """What is wrong with ``data`` by a JSON Schema (draft 2020-12): at most 20 violations, none when it is valid.

        Numbers are compared exactly. References, ``patternProperties``, ``unevaluated...`` and patterns that may take
        long are not supported. Raises :class:`outlet.ApiError`: ``invalid_schema``, ``invalid_value``,
        ``value_too_large`` (data 64 KiB, schema 16 KiB), ``too_much_to_validate``.
        """
        found = await self._transport.call("validation.check", {"data": data, "schema": dict(schema)})
        return [Violation(*each) for each in found]

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """``async with api.transaction():`` keeps what happens within it, or undoes it when it raises, and only that.

        A database call that fails within it can be survived by leaving it with the exception. Transactions nest (8
        deep). While one is open, calls from tasks that were not started within it are refused (``transaction_open``).
        Tables and settings are changed outside; what leaves the database (fetch, call, log) is not undone.
        """
        return _transactions.transaction(self._transport.call)

    async def create_table(
        self,
        name: str,
        columns: Mapping[str, _columns.Column],
        *,
        unique: Sequence[Sequence[str]] = (),
        indexes: Sequence[Sequence[str]] = (),
    ) -> Table:
        """Make a custom table, or add the columns and indexes that it lacks. In lifecycle hooks only.

        This version sees the columns named here; those of former versions are kept for the way back.
        """
        definition = {
            "columns": {
                column: {"type": made.type, "nullable": made.nullable, "default": made.default}
                for column, made in columns.items()
            },
            "unique": [list(names) for names in unique],
            "indexes": [list(names) for names in indexes],
        }
        await self._transport.call("tables.define", {"name": name, "definition": definition})
        return self.table(name)

    def table(self, name: str) -> Table:
        """A table that exists already."""
        return Table(name, self._transport.call)


def with_secrets(config: Mapping[str, Any], secrets: Sequence[str]) -> dict[str, Any]:
    """``config`` with what stands for the settings named in ``secrets``."""
    return {**config, **{name: Secret(name) for name in secrets}}
