"""The collector of a worker is tuned, and still collects."""

import gc
import subprocess
import sys


def test_cycles_are_still_collected() -> None:
    # In a process of its own: the setting is for good.
    program = """
import gc, weakref
from services.runtime.collector import YOUNG, collect_rarely
collect_rarely()
assert gc.isenabled() and gc.get_threshold()[0] == YOUNG and gc.get_freeze_count() > 0
class Knot:
    def __init__(self): self.self = self
knot = weakref.ref(Knot())
kept = [[] for _ in range(2 * YOUNG)]
assert knot() is None
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert gc.get_threshold()[0] < 20_000
