"""The standard library from memory: read before the first guest, shared by all of them, who have no files.

Pure-Python modules are kept as code; extension modules are loaded, because loading one later would take a file.
"""

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import os
import sys
import sysconfig
import warnings
import zoneinfo
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from outlet._guest.time_zones import TimeZones, time_zone_files

# Nothing of these can work in a guest, or is meant for one: terminals, windows, servers, builds, tests.
_LEFT_OUT = frozenset(
    {"test", "tests", "idlelib", "tkinter", "turtledemo", "turtle", "lib2to3", "ensurepip", "distutils", "venv"}
    | {"pydoc_data", "curses", "dbm", "msilib", "site-packages", "dist-packages", "lib-dynload", "__pycache__"}
    | {"wsgiref", "xmlrpc", "idle_test", "pydoc", "antigravity", "this", "__phello__"}
)
_EXTENSIONS_LEFT_OUT = ("_test", "_xx", "xx", "_tkinter", "_curses", "_dbm", "_gdbm", "_ssl", "_crypt", "nis")
_MORE_EXTENSIONS_LEFT_OUT = ("readline", "ossaudiodev", "spwd", "syslog", "_multiprocessing", "_posixshmem")
_PYC_HEADER = 16


class MemoryLibrary(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules by full name in ``modules``: whether it is a package, and its code as marshal wrote it."""

    def __init__(self, modules: Mapping[str, tuple[bool, bytes]]) -> None:
        self._modules = modules

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's spec, or None when it is not one of ours."""
        if fullname not in self._modules:
            return None
        return ModuleSpec(fullname, self, origin="memory", is_package=self._modules[fullname][0])

    def get_code(self, fullname: str) -> CodeType:
        code = marshal.loads(self._modules[fullname][1])  # noqa: S302  our own, from the zygote
        assert isinstance(code, CodeType)  # noqa: S101  what was put in
        return code

    def get_source(self, fullname: str) -> None:
        """No source is kept."""
        return

    def is_package(self, fullname: str) -> bool:
        return self._modules[fullname][0]


def serve_from_memory() -> None:
    """From now on this process imports nothing from files any more."""
    zones = TimeZones(time_zone_files())
    _load_extensions()
    library = MemoryLibrary(_read_modules())
    zoneinfo.reset_tzpath(to=())
    sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter, library, zones]
    for cache in (sys.path, sys.path_hooks, sys.path_importer_cache):
        cache.clear()


def _read_modules() -> dict[str, tuple[bool, bytes]]:
    root = Path(sysconfig.get_path("stdlib"))
    found: dict[str, tuple[bool, bytes]] = {}
    for folder, below, files in os.walk(root):
        below[:] = [name for name in below if name not in _LEFT_OUT and name.isidentifier()]
        package = Path(folder).relative_to(root).parts
        for file in files:
            name, _, extension = file.partition(".")
            if extension != "py" or name in _LEFT_OUT or not name.isidentifier():
                continue
            is_package = name == "__init__"
            fullname = ".".join(package if is_package else (*package, name))
            if fullname and fullname not in sys.modules:
                code = _code(fullname, Path(folder, file))
                if code is not None:
                    found[fullname] = (is_package, code)
    return found


def _code(fullname: str, source: Path) -> bytes | None:
    """The module's code from its cache when that is right (PEP 552), else compiled; None when it cannot be."""
    known = source.stat()
    stamp = (known.st_mtime_ns // 10**9 & 0xFFFFFFFF).to_bytes(4, "little") + known.st_size.to_bytes(4, "little")
    with contextlib.suppress(OSError):
        cached = Path(importlib.util.cache_from_source(str(source))).read_bytes()
        if cached[:_PYC_HEADER] == importlib.util.MAGIC_NUMBER + bytes(4) + stamp:
            return cached[_PYC_HEADER:]
    try:
        return marshal.dumps(importlib.machinery.SourceFileLoader(fullname, str(source)).get_code(fullname))
    except SyntaxError:  # a template or a test of the parser
        return None


def _load_extensions() -> None:
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    for file in sorted(Path(sysconfig.get_path("platstdlib"), "lib-dynload").glob("*")):
        name = file.name.partition(".")[0]
        if (
            not file.name.endswith(suffixes)
            or name.startswith(_EXTENSIONS_LEFT_OUT)
            or name in _MORE_EXTENSIONS_LEFT_OUT
        ):
            continue
        # ImportError: built against a library that is not here; then a guest goes without.
        with contextlib.suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module(name)
