"""Compile ``proto/*.proto`` from the repository root, so that generated modules import as ``from proto import ...``.

``python -m proto.generate`` writes the modules in place; ``--check`` exits 1 when the committed ones differ.
"""

import argparse
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "proto").glob("*.proto"))


def compile_into(target: Path) -> list[Path]:
    """Write the generated modules below ``target`` and return their paths relative to it."""
    arguments = [
        "protoc",
        *(
            f"--plugin={name}={Path(sys.executable).parent / name}"
            for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")
        ),
        f"-I{ROOT}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"--python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--grpc_python_out={target}",
        f"--mypy_grpc_out=quiet:{target}",
        *SOURCES,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the contract: see its message above")
    return sorted(path.relative_to(target) for path in (target / "proto").glob("*_pb2*.py*"))


def drifted() -> list[Path]:
    """Paths, relative to the root, whose committed content is not what the compiler writes."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory)
        written = compile_into(target)
        return [
            path
            for path in written
            if not (ROOT / path).exists() or (ROOT / path).read_bytes() != (target / path).read_bytes()
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on drift")
    if not parser.parse_args().check:
        compile_into(ROOT)
        return
    if stale := drifted():
        sys.exit(f"generated code drifted: {', '.join(map(str, stale))}; run `make proto` and commit")


if __name__ == "__main__":
    main()
