"""Bar charts as SVG, drawn by hand: a page of numbers side by side needs no library."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, LABEL_WIDTH, VALUE_WIDTH = 720, 230, 110
TOP, ROW, BAR = 46, 28, 18
OWN, OTHERS = "#2457d6", "#9aa5b8"
INK, PAPER = "#1c2430", "#ffffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Bars from zero, in order: ``(label, value)``; those whose label begins with ``own`` stand out."""

    file: str
    title: str
    unit: str
    bars: Sequence[tuple[str, float]]
    own: str = "Outlet"

    def svg(self) -> str:
        """The picture."""
        height = TOP + ROW * len(self.bars) + 8
        scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / (max((value for _, value in self.bars), default=0.0) or 1.0)
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" font-family="system-ui, sans-serif" font-size="13" fill="{INK}">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
            f'<text x="12" y="26" font-size="15" font-weight="600">{escape(f"{self.title} ({self.unit})")}</text>',
        ]
        for number, (label, value) in enumerate(self.bars):
            lines += self._bar(label, value, TOP + ROW * number, value * scale)
        return "\n".join([*lines, "</svg>"]) + "\n"

    def _bar(self, label: str, value: float, y: float, length: float) -> list[str]:
        color = OWN if label.startswith(self.own) else OTHERS
        middle = y + BAR - 5
        shown = f"{value:,.0f}" if value >= 1_000 else f"{value:,.3g}"
        return [
            f'<text x="{LABEL_WIDTH - 10}" y="{middle}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL_WIDTH}" y="{y}" width="{max(length, 1):.1f}" height="{BAR}" fill="{color}"/>',
            f'<text x="{LABEL_WIDTH + max(length, 1) + 6:.1f}" y="{middle}">{shown}</text>',
        ]
