"""What leaves a call in memory: events, notifications, lines of the log, jobs, and changed settings."""

from datetime import datetime
from typing import Any, Literal

from outlet import _json, _values
from outlet._rules.configuration import as_published, refuse_faults
from outlet._rules.documents import encode_document
from outlet._rules.emitting import check_event_name, encode_event
from outlet._rules.jobs import MOST_WAITING, check_job_key, encode_payload, planned
from outlet._rules.json_schema import UnusableSchema
from outlet._rules.notices import PERMISSION, check_notice
from outlet._rules.refusal import ApiRefusal
from outlet._rules.settings_schema import MAX_CONFIG_BYTES, config_faults
from outlet._rules.validation import check_work, checking
from outlet.testing._groups import Arguments, Group, method
from outlet.testing._models import EVERY_STORE
from outlet.testing._observed import Emitted, LogLine, Notice, WaitingJob
from outlet.testing._store import INBOX, Collection

JOB_KEYS = "urn:outlet:job-keys"


def jobs(installation_id: str) -> Collection:
    """Where the waiting jobs of an installation are."""
    return ("jobs", installation_id)


class Emit(Arguments):
    event: str
    data: dict[str, Any]


class Notify(Arguments):
    user: str
    title: str
    message: str
    type: Literal["info", "success", "warning", "error"] = "info"


class Write(Arguments):
    level: str
    message: str
    meta: dict[str, Any] = {}


class Enqueue(Arguments):
    name: str
    payload: Any = None
    delay: float = 0.0
    at: datetime | None = None
    key: str | None = None


class SetConfig(Arguments):
    key: str
    value: Any


class Check(Arguments):
    data: Any
    schema: dict[str, Any]


class Messages(Group):
    """Events and notifications; they leave when the call is committed."""

    @method("events.emit", Emit)
    async def emit(self, call: Emit) -> None:
        check_event_name(call.event)
        data = _json.decode(encode_event(call.data))
        self.writes()
        self.invocation.leave(self.work, "emitted", Emitted(call.event, data, self.invocation.store or EVERY_STORE))

    @method("notices.send", Notify)
    async def notify(self, call: Notify) -> None:
        if PERMISSION not in self.plugin.grants:
            raise ApiRefusal("permission_denied", f"the organization has not granted {PERMISSION}, or nobody asked")
        check_notice(call.user, call.title, call.message)
        self.writes()
        self.invocation.leave(self.work, "notices", Notice(call.user, call.title, call.message, call.type))

    @method("log", Write)
    async def log(self, call: Write) -> None:
        level = call.level if call.level in ("debug", "info", "warning", "error") else "info"
        self.plugin.observed.logs.append(LogLine(level, call.message, call.meta))


class Jobs(Group):
    """``jobs.enqueue``."""

    @method("jobs.enqueue", Enqueue)
    async def enqueue(self, call: Enqueue) -> str:
        own = self.plugin.id
        if call.name not in {job.name for job in self.plugin.manifest.jobs}:
            raise ApiRefusal("unknown_job", f"the plugin declares no job {call.name!r:.80}")
        due, payload = planned(call.delay, call.at, self.platform.now), encode_payload(call.payload)
        work = self.writes()
        if call.key is None:
            made = self.platform.new_id()
        else:
            claim = (own, call.name, JOB_KEYS, check_job_key(call.key))
            known = work.get(INBOX, claim)
            if known is not None:
                return str(known)
            made = self.platform.new_id()
            work.put(INBOX, claim, made)
        if sum(1 for _ in work.scan(jobs(own))) >= MOST_WAITING:
            raise ApiRefusal("too_many_jobs", f"{MOST_WAITING} jobs of this installation wait already")
        job = WaitingJob(made, call.name, _values.decode(payload), due, self.platform.now, self.invocation.store)
        work.put(jobs(own), made, job)
        return made


class Configuration(Group):
    """``config.set``, one setting at a time, each change checked against the plugin's own schema."""

    @method("config.set", SetConfig)
    async def set(self, call: SetConfig) -> None:
        if self.work.nested:
            raise ApiRefusal("not_allowed_here", "the configuration is set outside of api.transaction()")
        manifest = self.plugin.manifest
        secrets = manifest.secret_settings()
        if call.key in secrets:
            raise ApiRefusal("secret_setting", f"{call.key!r} is a secret: the organization sets it, not the plugin")
        text = encode_document(call.value, limit=MAX_CONFIG_BYTES)
        present = self.plugin.config if self.invocation.config is None else self.invocation.config
        changed = {**present, call.key: as_published(text)}
        check_work(manifest.settings_schema, changed, encode_document(changed, limit=MAX_CONFIG_BYTES))
        sealed = [name for name in secrets if name in self.plugin.secrets]
        whole = changed | dict.fromkeys(sealed, "")
        refuse_faults(config_faults(whole, manifest.settings_schema, secrets=secrets, sealed=sealed))
        if self.invocation.kind != "lifecycle":
            self.writes()
        self.invocation.config = changed


class Validation(Group):
    """``validation.check``."""

    @method("validation.check", Check)
    async def check(self, call: Check) -> list[tuple[str, str]]:
        check = checking(call.data, call.schema)
        try:
            return check()
        except UnusableSchema as error:
            raise ApiRefusal("invalid_schema", str(error)) from error
        except ArithmeticError as error:
            raise ApiRefusal("invalid_value", f"a number is too large or too small to compare: {error!r}") from error
