"""What the files of a package are: source text, and no more of it than a reviewer can read."""

from collections.abc import Iterator

from outlet.package import Package
from services.registry.submissions.checks.finding import Finding

SOURCE_BYTES = 1024 * 1024
"""Of all sources together; more is not wrong, but nobody reads it."""
FILE_BYTES = 256 * 1024
LINE_LENGTH = 4_000

MAGIC = {
    b"\x7fELF": "an ELF binary",
    b"MZ": "a Windows binary",
    b"\xcf\xfa\xed\xfe": "a Mach-O binary",
    b"\xca\xfe\xba\xbe": "a Java or Mach-O binary",
    b"\x00asm": "WebAssembly",
    b"PK\x03\x04": "an archive",
    b"\x1f\x8b": "an archive",
}


def check(package: Package) -> Iterator[Finding]:
    """Binaries, whatever their name, and sizes over budget."""
    for path, content in package.sources.items():
        kind = next((name for start, name in MAGIC.items() if content.startswith(start)), None)
        if kind is None and b"\0" in content:
            kind = "binary data"
        if kind is not None:
            yield Finding("bundled_binary", "error", path, None, f"is {kind}: only source text can be reviewed")
        if len(content) > FILE_BYTES:
            yield Finding("large_file", "warning", path, None, f"has {len(content)} bytes, more than {FILE_BYTES}")
        for number, line in enumerate(content.splitlines(), start=1):
            if len(line) > LINE_LENGTH:
                yield Finding("long_line", "warning", path, number, f"has {len(line)} characters")
                break
    total = sum(map(len, package.sources.values()))
    if total > SOURCE_BYTES:
        message = f"the sources have {total} bytes together, more than {SOURCE_BYTES}"
        yield Finding("large_package", "warning", "manifest.json", None, message)
