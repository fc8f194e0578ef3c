"""Sales dashboard: turnover by hour, day, store and employee, for the dashboard and the reports."""

from .handlers import plugin

__all__ = ["plugin"]
