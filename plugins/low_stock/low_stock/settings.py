"""The organization's settings: from which number a product is low, who is told, and when nobody is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outlet import Api


@dataclass(frozen=True)
class Thresholds:
    """A product is low when fewer than its category's number are left, or than ``otherwise``."""

    by_category: Mapping[str, int]
    otherwise: int

    @classmethod
    def of(cls, api: Api) -> "Thresholds":
        return cls(api.get_config("thresholds", {}), api.get_config("threshold", 5))

    def of_category(self, category: str | None) -> int:
        """The number for products of this category."""
        return self.by_category.get(category, self.otherwise) if category else self.otherwise

    @property
    def highest(self) -> int:
        """What has this many left is low in no category."""
        return max([self.otherwise, *self.by_category.values()])


@dataclass(frozen=True)
class QuietHours:
    """From ``begin`` until ``end`` (the next day's, when that is earlier) in ``zone`` nobody is told anything."""

    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def of(cls, api: Api) -> "QuietHours":
        name = api.get_config("timeZone", "UTC")
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            # A wrong name must not keep anybody from being told.
            api.log("warning", "timeZone is no IANA time zone: the quiet hours are read in UTC", timeZone=name)
            zone = ZoneInfo("UTC")
        begin, end = api.get_config("quietFrom", "20:00"), api.get_config("quietUntil", "08:00")
        return cls(time.fromisoformat(begin), time.fromisoformat(end), zone)

    def over(self, moment: datetime) -> datetime:
        """The first moment from ``moment`` on that is not quiet."""
        local = moment.astimezone(self.zone)
        now = local.time().replace(tzinfo=None)
        if self.begin <= self.end:
            quiet, tomorrow = self.begin <= now < self.end, False
        else:
            quiet, tomorrow = now >= self.begin or now < self.end, now >= self.begin
        if not quiet:
            return moment
        day = local.date() + timedelta(days=tomorrow)
        return datetime.combine(day, self.end, self.zone)
