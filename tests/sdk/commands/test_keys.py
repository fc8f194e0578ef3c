"""`outlet keys` as a publisher uses it."""

import json
from pathlib import Path

import pytest

from outlet.commands.key_files import KeyFiles
from outlet.local.errors import PlatformError
from tests.sdk.commands.test_cli import outlet


def test_new_keys_are_listed_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    made = json.loads(outlet("keys", "new", "release", "--directory", tmp_path, "--json").stdout)
    assert Path(made["path"]).stat().st_mode & 0o777 == 0o600
    assert "d" not in made["publicKey"]
    listed = json.loads(outlet("keys", "list", "--directory", tmp_path, "--json").stdout)
    assert listed == [{"name": "release", "id": made["id"]}]


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    kept = files.create("release").as_dict(private=True)
    with pytest.raises(PlatformError, match="there is a key"):
        files.create("release")
    assert files.read("release").as_dict(private=True) == kept


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    files = KeyFiles(tmp_path)
    files.create("release")
    files.path("release").chmod(0o644)
    with pytest.raises(PlatformError, match="others may read"):
        files.read("release")


@pytest.mark.parametrize("name", ["", "../release", "a/b", ".hidden"])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PlatformError, match="no name for a key"):
        KeyFiles(tmp_path).create(name)
