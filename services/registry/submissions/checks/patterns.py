"""Patterns of code that hides what it does, or reaches around the platform."""

import ast
import math
import re
from collections import Counter
from collections.abc import Iterator

from services.registry.submissions.checks.finding import Finding

RUNS_TEXT = frozenset({"eval", "exec", "compile"})
"""Built-in functions that make code of text."""
DECODES = frozenset({"b64decode", "b32decode", "b85decode", "a85decode", "unhexlify", "fromhex", "decompress", "loads"})
"""What turns data into code that could not be read before."""
REACHES_AROUND = frozenset({"ctypes", "_ctypes", "cffi", "mmap", "subprocess", "_posixsubprocess", "pty", "resource"})
"""Modules with which a plugin can only want to get out of its process. The sandbox stops it; nobody needs to try."""
BLOB_LENGTH = 2_000
BLOB_ENTROPY = 4.5
"""Bits per character: text and tables of numbers have less, base64 of compressed data has nearly six."""
_ENCODED = re.compile(r"[A-Za-z0-9+/=_\s-]+")


def check(path: str, tree: ast.Module) -> Iterator[Finding]:
    """What one source file does that no reviewer could vouch for."""
    for node in ast.walk(tree):
        match node:
            case ast.Call():
                yield from _call(path, node)
            case ast.Import(names=names):
                yield from _modules(path, node, [alias.name for alias in names])
            case ast.ImportFrom(module=str(module), level=0):
                yield from _modules(path, node, [module])
            case ast.Constant(value=str() | bytes() as value) if _is_blob(value):
                yield Finding(
                    "obfuscated_blob", "error", path, node.lineno, f"{len(value)} characters that nobody can read"
                )


def _call(path: str, call: ast.Call) -> Iterator[Finding]:
    name = _name(call.func)
    if name in RUNS_TEXT and isinstance(call.func, ast.Name) | _is_of_builtins(call.func):
        if any(_name(inner.func) in DECODES for inner in ast.walk(call) if isinstance(inner, ast.Call)):
            yield Finding("decoded_code", "error", path, call.lineno, f"{name} runs code that is decoded first")
        elif call.args and isinstance(call.args[0], ast.Constant):
            yield Finding(
                "code_of_text", "warning", path, call.lineno, f"{name} runs a constant text: write it as code"
            )
        else:
            yield Finding(
                "built_code", "error", path, call.lineno, f"{name} runs code that is put together when it runs"
            )
    elif name in ("__import__", "import_module") and not (call.args and isinstance(call.args[0], ast.Constant)):
        yield Finding("built_import", "error", path, call.lineno, "imports a module whose name is not written here")
    elif name in ("__import__", "import_module") and isinstance(call.args[0], ast.Constant):
        yield from _modules(path, call, [str(call.args[0].value)])


def _modules(path: str, node: ast.stmt | ast.expr, names: list[str]) -> Iterator[Finding]:
    for name in names:
        if name.partition(".")[0] in REACHES_AROUND:
            yield Finding("reaches_around", "error", path, node.lineno, f"imports {name}, which no plugin needs")


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _is_of_builtins(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(value=ast.Name(id="builtins" | "__builtins__")):
            return True
        case _:
            return False


def _is_blob(value: str | bytes) -> bool:
    if len(value) < BLOB_LENGTH:
        return False
    if isinstance(value, bytes):
        return not value.isascii() or _is_blob(value.decode("ascii"))
    if not _ENCODED.fullmatch(value) or value.count(" ") > len(value) / 20:
        return False
    counts, length = Counter(value).values(), len(value)
    return -sum(count / length * math.log2(count / length) for count in counts) > BLOB_ENTROPY
