"""The rules are the SDK's own (:mod:`outlet._rules.cron`), which the test kit keeps too."""

from outlet._rules.cron import MOST_MISSED, PUNCTUAL, due_ticks, local_time, next_tick

__all__ = ["MOST_MISSED", "PUNCTUAL", "due_ticks", "local_time", "next_tick"]
