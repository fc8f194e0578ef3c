"""Low stock: what is running out is told once to the people who order."""

from .handlers import plugin

__all__ = ["plugin"]
