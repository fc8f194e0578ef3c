"""Where the bytes of packages are: in the registry's database, or at any location that fsspec reaches. One setting.

Packages are named by their digest, so a storage holds each once and never changes it; what is read is verified.
"""

from typing import Protocol
from uuid import uuid4

import anyio
import anyio.to_thread
import structlog
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from sqlmodel.ext.asyncio.session import AsyncSession

from outlet.package import digest_of
from services.common.errors import Conflict, NotFound, Unavailable
from services.registry.catalogue.repository import CatalogueRepository

log = structlog.get_logger(__name__)

DATABASE = "database"
SECONDS = 20.0
"""For one package to come or go."""


class PackageUntrusted(Conflict):
    """A stored package that must not be run."""

    code = "package_untrusted"
    remedy = "Have its publisher sign and publish this very package again, or install another version."


class PackageStorage(Protocol):
    """Keeps packages. ``session`` is the transaction that the package belongs to."""

    async def write(self, session: AsyncSession, digest: str, data: bytes) -> None:
        """Keep a package. Raises Unavailable."""

    async def find(self, session: AsyncSession, digest: str) -> bytes | None:
        """The bytes that are kept under a digest, not verified. Raises Unavailable."""


async def read_package(packages: PackageStorage, session: AsyncSession, digest: str) -> bytes:
    """The bytes of a package, verified.

    Raises NotFound (``package_not_found``), PackageUntrusted when they are others, or Unavailable.
    """
    data = await packages.find(session, digest)
    if data is None:
        raise NotFound(f"No package has the digest {digest}.", code="package_not_found")
    if digest_of(data) != digest:
        log.error("what is stored under a digest has another one", digest=digest, found=digest_of(data))
        raise PackageUntrusted(f"What is stored as {digest} has the digest {digest_of(data)}.")
    return data


def open_storage(location: str) -> PackageStorage:
    """The storage of the setting ``OUTLET_PACKAGE_STORAGE``: ``database``, or the URL of a folder.

    Raises ValueError or ImportError when the URL is of a kind that is not known, or whose library is not installed.
    """
    if location == DATABASE:
        return DatabasePackages()
    if "://" not in location:
        raise ValueError(
            f"OUTLET_PACKAGE_STORAGE is {DATABASE!r} or a URL such as file:///var/lib/outlet, not {location!r}"
        )
    files, folder = url_to_fs(location)
    return LocatedPackages(files, folder)


class DatabasePackages:
    """Packages as rows, in the transaction of their versions."""

    async def write(self, session: AsyncSession, digest: str, data: bytes) -> None:
        CatalogueRepository(session).add_package(digest, data)

    async def find(self, session: AsyncSession, digest: str) -> bytes | None:
        return await CatalogueRepository(session).package(digest)


class LocatedPackages:
    """Packages as files ``sha256/<2 digits>/<64 digits>``; those from before are still found in the database.

    A file is written before its version is committed: one that is left over from a failure is harmless.
    """

    def __init__(self, files: AbstractFileSystem, folder: str) -> None:
        self._files = files
        self._folder = folder.rstrip("/")

    async def write(self, session: AsyncSession, digest: str, data: bytes) -> None:
        await self._within(self._put, digest, data)

    async def find(self, session: AsyncSession, digest: str) -> bytes | None:
        found = await self._within(self._get, digest, b"")
        return await CatalogueRepository(session).package(digest) if found is None else found

    async def _within(self, action: "Action", digest: str, data: bytes) -> bytes | None:
        try:
            with anyio.fail_after(SECONDS):
                return await anyio.to_thread.run_sync(action, digest, data, abandon_on_cancel=True)
        except OSError as error:  # a time-out is one
            raise Unavailable(
                f"The storage of packages cannot be reached: {error!r}", code="package_storage_unavailable"
            ) from error

    def _put(self, digest: str, data: bytes) -> None:
        path = self._path(digest)
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        part = f"{path}.{uuid4().hex}.part"  # nobody finds half a file
        self._files.pipe_file(part, data)
        self._files.mv(part, path)

    def _get(self, digest: str, _: bytes) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(self._path(digest))
        except FileNotFoundError:
            return None
        return data

    def _path(self, digest: str) -> str:
        kind, _, number = digest.partition(":")
        return f"{self._folder}/{kind}/{number[:2]}/{number}"


class Action(Protocol):
    """What is done with one package in a thread."""

    def __call__(self, digest: str, data: bytes, /) -> bytes | None: ...
