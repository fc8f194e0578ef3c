"""Time zones without files: the ``tzdata`` package from memory, by the standard protocol for resources."""

import importlib.abc
import importlib.resources
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.resources.abc import Traversable, TraversableResources
from types import ModuleType
from typing import Any


class TimeZones(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The package ``tzdata``, whose resources are ``files``: paths such as ``zoneinfo/Europe/Paris``."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files
        self._folders = {path.rpartition("/")[0] for path in files} - {""}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of tzdata or of a folder in it."""
        top, _, rest = fullname.partition(".")
        if top != "tzdata" or (rest and rest.replace(".", "/") not in self._folders):
            return None
        return ModuleSpec(fullname, self, origin="memory", is_package=True)

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual kind of module."""
        return

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""

    def get_resource_reader(self, fullname: str) -> TraversableResources:
        """Reads the files of one of our packages."""
        return _Resources(_MemoryPath(self._files, fullname.partition(".")[2].replace(".", "/")))


class _Resources(TraversableResources):
    def __init__(self, root: "_MemoryPath") -> None:
        self._root = root

    def files(self) -> Traversable:
        return self._root


class _MemoryPath(Traversable):
    def __init__(self, files: Mapping[str, bytes], path: str) -> None:
        self._files = files
        self._path = path

    @property
    def name(self) -> str:
        return self._path.rpartition("/")[2]

    def iterdir(self) -> Iterator["_MemoryPath"]:
        prefix = f"{self._path}/" if self._path else ""
        below = (path.removeprefix(prefix) for path in self._files if path.startswith(prefix))
        return (self.joinpath(name) for name in sorted({path.partition("/")[0] for path in below}))

    def is_dir(self) -> bool:
        return any(path.startswith(f"{self._path}/") for path in self._files) or not self._path

    def is_file(self) -> bool:
        return self._path in self._files

    def joinpath(self, *descendants: str | os.PathLike[str]) -> "_MemoryPath":
        parts = [self._path, *(os.fspath(part) for part in descendants)]
        return _MemoryPath(self._files, "/".join(part for part in parts if part))

    def open(self, mode: str = "r", encoding: str | None = None, errors: str | None = None) -> Any:
        if self._path not in self._files:
            raise FileNotFoundError(self._path)
        data = io.BytesIO(self._files[self._path])
        return data if "b" in mode else io.TextIOWrapper(data, encoding, errors)

    def read_bytes(self) -> bytes:
        return self._files[self._path]

    def read_text(self, encoding: str | None = None) -> str:
        return self._files[self._path].decode(encoding or "utf-8")


def time_zone_files() -> dict[str, bytes]:
    """Everything in the installed ``tzdata``, by path."""
    root = importlib.resources.files("tzdata")
    files: dict[str, bytes] = {}

    def gather(folder: Traversable, path: str) -> None:
        for entry in folder.iterdir():
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir():
                gather(entry, below)
            elif not entry.name.endswith((".py", ".pyc")):
                files[below] = entry.read_bytes()

    gather(root, "")
    for name in [name for name in sys.modules if name.partition(".")[0] == "tzdata"]:
        del sys.modules[name]  # it reads from files; the next import gets ours
    return files
