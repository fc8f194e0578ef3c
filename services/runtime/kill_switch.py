"""The kill switch: a version that a reviewer revokes is stopped on this worker as soon as its directory says so."""

import structlog

from services.common.directory import Installation
from services.runtime.sandbox import SandboxPool

log = structlog.get_logger(__name__)


class KillSwitch:
    """Called with every new state of an installation, before its directory says how far it has come.

    So a worker whose lease names the revision of a revocation runs nothing of the version any more.
    """

    def __init__(self, sandbox: SandboxPool) -> None:
        self._sandbox = sandbox
        self._revoked: set[str] = set()

    def __call__(self, installation: Installation) -> None:
        digest = installation.digest
        if installation.revoked is None:
            if digest in self._revoked:
                self._revoked.discard(digest)
                self._sandbox.restore(digest)
        elif digest not in self._revoked:
            self._revoked.add(digest)
            self._sandbox.revoke(digest)
            log.warning(
                "version revoked",
                plugin=installation.plugin_id,
                version=installation.version,
                reason=installation.revoked,
            )
