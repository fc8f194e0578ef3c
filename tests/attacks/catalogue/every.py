"""All attacks, in the order of the table."""

import platform

from tests.attacks.attack import Attack
from tests.attacks.catalogue.bombs import BOMBS
from tests.attacks.catalogue.files import FILES
from tests.attacks.catalogue.frames import FRAMES
from tests.attacks.catalogue.hangs import HANGS
from tests.attacks.catalogue.kernel import KERNEL
from tests.attacks.catalogue.memory import MEMORY
from tests.attacks.catalogue.network import NETWORK
from tests.attacks.catalogue.processes import PROCESSES

ATTACKS = [*FILES, *MEMORY, *PROCESSES, *NETWORK, *BOMBS, *KERNEL, *HANGS, *FRAMES]


def possible() -> list[Attack]:
    """Those that make sense on this machine."""
    return [attack for attack in ATTACKS if platform.machine() in attack.machines]
