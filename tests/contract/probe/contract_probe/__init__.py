"""A plugin that does what a case of the contract asks: the body of a request is a list of steps."""

from .handlers import plugin

__all__ = ["plugin"]
