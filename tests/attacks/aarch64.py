"""Attacks the sandbox on an emulated aarch64 machine: ``python -m tests.attacks.aarch64 [part of a name ...]``.

Boots Debian's kernel and Python for arm64 in QEMU from a file system in memory, and runs the tests of the walls and the
battery there. It takes about a minute to start and one for each attack. Wants an
amd64 or arm64 Debian (or Ubuntu with Debian's keyring) with ``apt``, ``cpio`` and ``qemu-system-arm``, about 1 GB of
disk and 3 GB of memory. Changes nothing of the machine's own packages: apt works in a folder of its own.
"""

import compileall
import gzip
import importlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".cache" / "aarch64"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PROGRAMS = {"apt-get": "apt", "dpkg-deb": "dpkg", "cpio": "cpio", "qemu-system-aarch64": "qemu-system-arm"}

# Landlock's last scope came with Linux 6.12, which bookworm has in its backports.
KERNEL = "linux-image-cloud-arm64/bookworm-backports"
USERLAND = (
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "busybox-static", "tzdata"),
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libbz2-1.0", "liblzma5", "libssl3", "libexpat1", "libffi8"),
    *("libuuid1", "libsqlite3-0", "libcrypt1", "libtinfo6", "libncursesw6", "libreadline8"),
)
MORE_MODULES = {"tzdata", "pytest", "_pytest", "pluggy", "iniconfig", "pytest_asyncio", "pytest_timeout"}
WHEELS = [f"--platform=manylinux{version}_aarch64" for version in ("2014", "_2_17", "_2_24", "_2_26", "_2_28", "_2_34")]

APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
Dir::State "{work}/state";
Dir::State::status "{work}/state/status";
Dir::Cache "{work}/cache";
Dir::Etc::sourcelist "{work}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""
INIT = """#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
busybox mkdir -p /dev/shm
busybox mount -t tmpfs shm /dev/shm
busybox mount -t tmpfs tmp /tmp
busybox ip link set lo up
export PATH=/bin PYTHONPATH=/outlet:/outlet/sdk PYTHONDONTWRITEBYTECODE=1
cd /outlet
/usr/bin/python3.11 -m pytest -q -p no:cacheprovider --confcutdir=tests/runtime/sandbox {tests}
echo "TESTS $?"
/usr/bin/python3.11 -m tests.attacks --slowness {slowness} {wanted}
busybox poweroff -f
"""
SLOWNESS = 10
"""About how much slower an emulated processor is than the one below it."""
SECONDS = 3 * 3_600
TESTS = "tests/runtime/sandbox/test_walls.py"


def main(wanted: list[str]) -> int:
    """0 when the walls' tests passed and no attack got through."""
    missing = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if missing or not KEYRING.exists():
        sys.stderr.write(f"wants a Debian machine with these packages: {', '.join(missing) or KEYRING.stem}\n")
        return 2
    kernel = make_machine(wanted)
    found = boot(kernel)
    held = found.get("tests") == 0 and found.get("tried") and not found["through"] and found["tier"] <= "B"
    return 0 if held else 1


def make_machine(wanted: list[str]) -> Path:
    """The kernel; beside it ``root.cpio.gz`` is what it starts from. What was downloaded before is used again."""
    root = WORK / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    archives = download_debian()
    for archive in archives:
        run("dpkg-deb", "-x", archive, WORK / "kernel" if archive.name.startswith("linux-image") else root)
    install_wheels(root / PACKAGES)
    copy_project(root / "outlet")
    for folder in ("usr/lib/python3.11", PACKAGES, "outlet"):
        # There, the compiler would take minutes. A bytecode of another Python version is passed over.
        compileall.compile_dir(root / folder, stripdir=root, quiet=2)
    for folder in ("proc", "sys", "dev", "tmp", "bin", "var/tmp"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("busybox")
    (root / "init").write_text(
        INIT.format(tests=TESTS, slowness=SLOWNESS, wanted=" ".join(f"'{part}'" for part in wanted))
    )
    (root / "init").chmod(0o755)
    pack(root, WORK / "root.cpio.gz")
    return max((WORK / "kernel/boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)


def download_debian() -> list[Path]:
    """The packages of the emulated machine, by apt with a state of its own, which checks Debian's signature."""
    archives = WORK / "cache/archives"
    for folder in (archives / "partial", WORK / "state/lists/partial"):
        folder.mkdir(parents=True, exist_ok=True)
    (WORK / "state/status").touch()
    (WORK / "apt.conf").write_text(APT.format(work=WORK))
    (WORK / "sources.list").write_text(
        "".join(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n" for suite in ("bookworm", "bookworm-backports"))
    )
    environment = os.environ | {"APT_CONFIG": str(WORK / "apt.conf"), "LC_ALL": "C"}
    run("apt-get", "update", "-qq", env=environment)
    depends = run("apt-cache", "depends", KERNEL, env=environment)
    found = re.search(r"Depends: (linux-image\S+)", depends)
    if found is None:
        raise SystemExit(f"{KERNEL} names no kernel")
    names = [found[1], *USERLAND]
    run("apt-get", "download", "-q", *names, env=environment, cwd=archives)
    return sorted(newest(archives, name) for name in names)


def newest(archives: Path, name: str) -> Path:
    """The last downloaded version of a package."""
    return max(archives.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)


def install_wheels(target: Path) -> None:
    """What the battery imports, in the versions of the lock file and checked by its hashes, for aarch64."""
    importlib.import_module("tests.attacks.__main__")
    owners = importlib.metadata.packages_distributions()
    modules = {name.partition(".")[0] for name in sys.modules} | MORE_MODULES
    wanted = {normal(owner) for module in modules for owner in owners.get(module, ())}
    entries = re.split(r"^(?=[a-zA-Z0-9])", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    chosen = [entry for entry in entries if normal(re.split(r"[=\[ ]", entry, maxsplit=1)[0]) in wanted]
    (WORK / "requirements.txt").write_text("".join(chosen))
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"),
        *("--python-version=3.11", *WHEELS, f"--target={target}", "-r", WORK / "requirements.txt"),
    )


def normal(name: str) -> str:
    """The name of a distribution as they are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def copy_project(target: Path) -> None:
    """The platform's code and the battery."""
    target.mkdir()
    shutil.copy(ROOT / "pyproject.toml", target)
    for folder in ("services", "sdk", "proto", "tests"):
        shutil.copytree(ROOT / folder, target / folder, ignore=shutil.ignore_patterns("__pycache__"))


def pack(root: Path, archive: Path) -> None:
    """A file system that a kernel unpacks into memory (its own format: newc)."""
    names = "\n".join([".", *(str(path.relative_to(root)) for path in sorted(root.rglob("*")))])
    packed = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"],
        cwd=root,
        input=names.encode(),
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    archive.write_bytes(gzip.compress(packed, 1))


def boot(kernel: Path) -> dict[str, Any]:
    """Start the machine and show what it says until it ends; the battery's figures, and ``tests``: pytest's status."""
    machine = subprocess.Popen(
        [
            *("timeout", str(SECONDS), "qemu-system-aarch64", "-machine", "virt", "-cpu", "cortex-a76", "-smp", "2"),
            *("-m", "3072", "-nographic", "-no-reboot", "-nic", "none", "-kernel", str(kernel)),
            *("-initrd", str(WORK / "root.cpio.gz"), "-append", "console=ttyAMA0 quiet panic=-1 loglevel=3"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    figures: dict[str, Any] = {}
    assert machine.stdout is not None
    for line in machine.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if line.startswith("ATTACKS "):
            figures |= json.loads(line.removeprefix("ATTACKS "))
        if line.startswith("TESTS "):
            figures["tests"] = int(line.removeprefix("TESTS "))
    machine.wait()
    return figures


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a command says. Raises CalledProcessError when it fails; its complaints are shown."""
    return subprocess.run(
        [str(part) for part in command], env=env, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
