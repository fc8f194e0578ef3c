"""Fraud check: an outside service is asked about each large sale, and its verdict is kept."""

from .handlers import plugin

__all__ = ["plugin"]
