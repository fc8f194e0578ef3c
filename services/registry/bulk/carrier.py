"""Doing what a job asks for in one store, with the services that do it for a single installation."""

from uuid import UUID

from services.common.auth import Caller
from services.common.secret_settings import SecretKeys
from services.registry.bulk.asking import caller_of, config_of, options_of
from services.registry.bulk.models import BulkJob
from services.registry.bulk.presence import is_installed
from services.registry.dependencies.service import DependencyService
from services.registry.installations.repository import Row
from services.registry.installations.schemas import InstallRequest
from services.registry.installations.service import InstallationService
from services.registry.updates.schemas import UpdateRequest
from services.registry.updates.service import UpdateService


class Carrier:
    """Acts in the name of whoever asked for a job. Raises OutletError, as the services do."""

    def __init__(
        self,
        installations: InstallationService,
        updates: UpdateService,
        dependencies: DependencyService,
        keys: SecretKeys,
    ) -> None:
        self._installations = installations
        self._updates = updates
        self._dependencies = dependencies
        self._keys = keys

    async def act(self, job: BulkJob, store: str, row: Row | None) -> UUID:
        """Do it in a store that has ``row`` now; the installation's id."""
        caller = caller_of(job)
        if job.action == "install":
            return await self._install(caller, job, store, row)
        assert row is not None  # noqa: S101  nothing else is done where nothing is installed
        installation_id = row[0].id
        if job.action in ("deactivate", "uninstall"):
            await self._stop(caller, job, installation_id)
        else:
            await self._change(caller, job, installation_id)
        return installation_id

    async def _install(self, caller: Caller, job: BulkJob, store: str, row: Row | None) -> UUID:
        options = options_of(job)
        if row is not None and is_installed(job, row[0]):
            installation_id = row[0].id
        else:
            wanted = InstallRequest(
                plugin_id=job.plugin_id,
                version=job.version,
                store_id=store,
                config=config_of(job, self._keys) or {},
                grants=job.grants,
            )
            service = self._dependencies if options.with_dependencies else self._installations
            installation_id = await service.install(caller, wanted)
        if options.activate:
            await self._installations.activate(caller, installation_id, options.begin_at)
        return installation_id

    async def _change(self, caller: Caller, job: BulkJob, installation_id: UUID) -> None:
        config = config_of(job, self._keys)
        match job.action:
            case "activate":
                await self._installations.activate(caller, installation_id, options_of(job).begin_at)
            case "update":
                wanted = UpdateRequest(version=job.version, grants=job.grants, config=config)
                await self._updates.update(caller, installation_id, wanted)
            case "rollback":
                await self._updates.roll_back(caller, installation_id)
            case "configure":
                await self._installations.configure(caller, installation_id, config or {})

    async def _stop(self, caller: Caller, job: BulkJob, installation_id: UUID) -> None:
        options = options_of(job)
        service = self._dependencies if options.cascade else self._installations
        if job.action == "deactivate":
            await service.deactivate(caller, installation_id, options.backlog)
            return
        await service.uninstall(caller, installation_id, force=options.force, stored_data=options.data)
