"""What the automatic checks find in a package, without running any of it."""

import base64
import random
from typing import Any

import pytest

from outlet.package import build, open_package
from services.registry.submissions.checks import Finding, check
from services.registry.submissions.checks.contents import FILE_BYTES
from tests.registry.packages import package
from tests.sdk.commands.test_cli import LOYALTY


def found(code: str, **members: Any) -> list[Finding]:
    return check(open_package(package("checked", code=code, **({"permissions": []} | members))))


def codes(code: str, **members: Any) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in found(code, **members)]


NOISE = random.Random(1).randbytes(3_000)  # noqa: S311  the same at every run


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import ctypes", "reaches_around"),
        ("from ctypes import util", "reaches_around"),
        ("import subprocess as s", "reaches_around"),
        ("__import__('ctypes')", "reaches_around"),
        ("import importlib\nimportlib.import_module('mm' + 'ap')", "built_import"),
        ("eval('1' + input())", "built_code"),
        ("def f(x):\n    exec(x)", "built_code"),
        ("import builtins\nbuiltins.exec(open)", "built_code"),
        ("import base64\nexec(base64.b64decode('cHJpbnQoMSk='))", "decoded_code"),
        ("import zlib, marshal\nexec(marshal.loads(zlib.decompress(b'x')))", "decoded_code"),
        (f"DATA = {base64.b64encode(NOISE).decode()!r}", "obfuscated_blob"),
        (f"DATA = {NOISE!r}", "obfuscated_blob"),
        ("def f(:", "source_unreadable"),
        ("(" * 500 + ")" * 500, "source_unreadable"),
    ],
)
def test_code_that_nobody_could_vouch_for_is_an_error(code: str, expected: str) -> None:
    assert (expected, "error") in codes(code)


def test_ordinary_code_is_not_suspected() -> None:
    assert codes(
        "import re, base64, json\n"
        "PATTERN = re.compile('a+')\n"
        "TEXT = '''" + "The quick brown fox jumps over the lazy dog. " * 60 + "'''\n"
        "def f(data):\n    return json.loads(base64.b64decode(data))\n"
    ) == []  # fmt: skip


def test_code_of_a_constant_text_is_for_the_reviewer_to_judge() -> None:
    assert codes("eval('1 + 1')") == [("code_of_text", "warning")]


def test_binaries_are_errors_whatever_they_are_called() -> None:
    for content in ("\x7fELF\x02\x01", "MZ\x90", "\x00asm\x01"):
        assert ("bundled_binary", "error") in codes(content)


def test_what_is_too_large_to_read_is_a_warning() -> None:
    assert ("large_file", "warning") in codes("a = 1\n" * (FILE_BYTES // 6 + 1))
    assert ("long_line", "warning") in codes(f"a = [{'1, ' * 3_000}]")


def test_the_line_is_named() -> None:
    (finding,) = found("a = 1\nimport mmap\n")
    assert (finding.path, finding.line) == ("told/__init__.py", 2)


USES = """
async def hook(api, event):
    await api.models.Sale.find({})
    await api.models.Product.update("1", {})
    await api.notify("title", "text")
    await api.fetch("https://example.com")
    await api.call("other-plugin", "GET", "/x")
"""
DECLARED: dict[str, Any] = {
    "permissions": [{"name": name, "purpose": "x"} for name in ("sale:read", "product:update", "notify:send")],
    "hosts": [{"name": "example.com", "purpose": "x"}],
    "calls": [{"pluginId": "other-plugin", "purpose": "x"}],
}


def test_what_is_used_and_not_declared_is_an_error() -> None:
    named = {finding.message for finding in found(USES, hooks=[]) if finding.code == "permission_undeclared"}
    for grant in ("sale:read", "product:update", "notify:send", "api.fetch", "call:other-plugin"):
        assert any(grant in message for message in named), grant


def test_what_is_declared_and_used_is_well() -> None:
    assert codes(USES, hooks=[], **DECLARED) == []


def test_what_is_declared_and_never_used_is_a_warning() -> None:
    assert {code for code, severity in codes("plugin = None", hooks=[], **DECLARED)} == {"permission_unused"}
    listening = {**DECLARED, "hosts": [], "calls": [], "permissions": [{"name": "sale:read", "purpose": "x"}]}
    assert codes("plugin = None", hooks=[{"event": "sale.created"}], **listening) == []


def test_nothing_of_the_package_is_run() -> None:
    assert codes("raise SystemExit('run!')") == []


def test_the_example_plugin_passes() -> None:
    assert [finding for finding in check(build(LOYALTY)) if finding.severity == "error"] == []
