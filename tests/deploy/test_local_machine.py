"""What `deploy.local` asks of the machine: programs and ports."""

import pytest

from deploy.local.ports import free_ports
from deploy.local.programs import find
from outlet.local.errors import PlatformError


def test_a_missing_program_names_the_package_to_install() -> None:
    with pytest.raises(PlatformError, match="no-such-server is not on this machine") as refused:
        find("no-such-server", package="some-package")
    assert refused.value.remedy == "Install the package some-package."


def test_free_ports_are_different_and_below_the_ephemeral_range() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768
