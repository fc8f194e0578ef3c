"""A process of the host with something to hide: in its environment, its memory, its command line and an open file.

Run as ``decoy.py FILE SECRET NAME``; prints the address of the secret in memory and the descriptor, then waits.
"""

import ctypes
import sys
from pathlib import Path

PR_SET_PTRACER = 0x59616D61
ANY = ctypes.c_ulong(-1 % 2**64)

secret = ctypes.create_string_buffer(sys.argv[2].encode())
# Where the Yama module guards processes: let any attach to this one, so that the walls alone keep them off.
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
with Path(sys.argv[1]).open() as held:
    print(ctypes.addressof(secret), held.fileno(), flush=True)  # noqa: T201  whoever started this reads it
    sys.stdin.read()
