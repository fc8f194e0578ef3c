"""What a guest gives up before it reads the first byte of a plugin."""

import resource

from outlet._guest.linux import give_up_new_privileges


def confine() -> None:
    """Called once in each new guest, after it has its socket and nothing else. Every limit of the process goes here."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    give_up_new_privileges()
