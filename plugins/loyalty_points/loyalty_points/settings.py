"""The organization's settings, as decimals. Their schema is in plugin.toml."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from outlet import Api

DEFAULTS = {"pointsPerDollar": 1, "redemptionRate": "0.01"}


@dataclass(frozen=True)
class Settings:
    """``points_per_dollar`` earned per unit of currency; ``redemption_rate`` is one point's value in currency."""

    points_per_dollar: Decimal
    redemption_rate: Decimal

    @classmethod
    def of(cls, api: Api) -> "Settings":
        return cls(_decimal(api, "pointsPerDollar"), _decimal(api, "redemptionRate"))

    def value_of(self, points: int) -> str:
        """What the points pay for, as a decimal string in cents, rounded down; a negative balance pays for nothing."""
        return str((max(points, 0) * self.redemption_rate).quantize(Decimal("0.01"), ROUND_DOWN))


async def set_defaults(api: Api) -> None:
    """Write down the defaults that apply, where the organization chose nothing."""
    for key, value in DEFAULTS.items():
        if api.get_config(key) is None:
            await api.set_config(key, value)


def _decimal(api: Api, key: str) -> Decimal:
    # Through the number's own text: 0.1 means a tenth, not the binary fraction nearest to it.
    return Decimal(str(api.get_config(key, DEFAULTS[key])))
