"""Loyalty points: earned on completed sales, taken back on refunds, redeemed at the till."""

from .handlers import plugin

__all__ = ["plugin"]
