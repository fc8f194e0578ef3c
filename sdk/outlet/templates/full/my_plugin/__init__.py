"""A day's turnover per store: added up, shown, compared with a goal, and sent to the head office."""

from .handlers import plugin

__all__ = ["plugin"]
