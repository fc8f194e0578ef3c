"""What a job keeps of the request that asked for it: the caller, the configuration, the options."""

import json
from dataclasses import replace
from typing import Any

from services.common.auth import Caller, Origin, Right, Role
from services.common.errors import Unprocessable
from services.common.secret_settings import SecretKeys, SecretPlace, SecretUnreadable
from services.registry.bulk.models import BulkJob
from services.registry.bulk.schemas import BulkOptions


def kept_caller(caller: Caller) -> dict[str, Any]:
    """The caller as a job keeps it."""
    return {
        "subject": caller.subject,
        "role": caller.role.value,
        "service_account": caller.service_account,
        "rights": sorted(right.value for right in caller.rights),
        "address": caller.origin.address,
        "user_agent": caller.origin.user_agent,
    }


def caller_of(job: BulkJob) -> Caller:
    """Who asked for a job; what was verified then holds for all of it."""
    kept = job.asked_by
    caller = Caller(kept["subject"], job.organization_id, None, Role(kept["role"]))
    return replace(
        caller,
        service_account=kept["service_account"],
        rights=frozenset(map(Right, kept["rights"])),
        origin=Origin(kept["address"], kept["user_agent"]),
    )


def options_of(job: BulkJob) -> BulkOptions:
    return BulkOptions.model_validate(job.options)


def seal_config(job: BulkJob, config: dict[str, Any] | None, keys: SecretKeys) -> None:
    """Keep the configuration with the job, sealed as a whole."""
    job.config = None if config is None else keys.seal(json.dumps(config), _place(job))


def config_of(job: BulkJob, keys: SecretKeys) -> dict[str, Any] | None:
    """The configuration that was asked for. Raises Unprocessable when no key opens it any more."""
    if job.config is None:
        return None
    try:
        config: dict[str, Any] = json.loads(keys.open(job.config, _place(job)))
    except SecretUnreadable as error:
        raise Unprocessable(
            f"The job's configuration cannot be read: {error}.", code="config_unreadable", errors=[]
        ) from error
    return config


def reseal_config(job: BulkJob, keys: SecretKeys) -> None:
    """Seal the configuration with the present key. Raises SecretUnreadable when no key opens it."""
    if job.config is not None and not keys.is_current(job.config):
        job.config = keys.seal(keys.open(job.config, _place(job)), _place(job))


def _place(job: BulkJob) -> SecretPlace:
    return SecretPlace(job.organization_id, job.plugin_id, str(job.id), "a job's configuration")
