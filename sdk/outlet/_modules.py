"""Python modules imported from memory: how a plugin's code is read when it is built and when it runs."""

import importlib.abc
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType


class MemoryFinder(importlib.abc.MetaPathFinder, importlib.abc.ExecutionLoader):
    """Finds the modules of ``sources``: paths such as ``loyalty_points/ledger.py`` with the bytes of the files.

    Tracebacks name these paths, and show the lines.
    """

    def __init__(self, sources: Mapping[str, bytes]) -> None:
        self._sources = sources

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, or None when it is not one of ours."""
        found = self._path(fullname)
        if found is None:
            return None
        return ModuleSpec(fullname, self, origin=found, is_package=found.endswith("/__init__.py"))

    def get_filename(self, fullname: str) -> str:
        """The path of a module's source."""
        found = self._path(fullname)
        if found is None:
            raise ImportError(f"{fullname} is not part of this package", name=fullname)
        return found

    def get_source(self, fullname: str) -> str:
        """The module's source, decoded as its encoding line says."""
        return importlib.util.decode_source(self._sources[self.get_filename(fullname)])

    def is_package(self, fullname: str) -> bool:
        return self.get_filename(fullname).endswith("/__init__.py")

    def _path(self, fullname: str) -> str | None:
        base = fullname.replace(".", "/")
        return next((path for path in (f"{base}/__init__.py", f"{base}.py") if path in self._sources), None)


@contextmanager
def importable(sources: Mapping[str, bytes]) -> Iterator[None]:
    """Within the block, modules are imported from ``sources`` first; after it the process is as it was before."""
    finder = MemoryFinder(sources)
    tops = {path.partition("/")[0].removesuffix(".py") for path in sources}

    def taken() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in tops}

    before = taken()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        taken()
        sys.modules.update(before)
