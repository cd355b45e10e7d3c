"""Loss curves without a plotting library: a line of block characters for terminals, an SVG figure for pages."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = ("#d55e00", "#0072b2", "#009e73")
"""Line colours, distinguishable by colour-blind readers (Okabe & Ito, 2008)."""
DASHES = ("none", "6 5", "2 3")
"""Dash patterns, so that lines differ in more than their colours."""
BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 40
"""Largest number of characters of a sparkline."""
LOG_RANGE = 30.0
"""Ratio of the largest to the smallest positive value from which on an axis is logarithmic."""
WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 44
"""Margins around the axes, in pixels."""
HEADROOM = 8
"""Distance between the largest value and the end of its axis, in pixels."""

Line = tuple[Sequence[float | int], Sequence[float]]
"""x and y values of a line."""
Losses = Mapping[str, list[float]]
"""Loss at each step, by the name of the run."""


@dataclass(frozen=True)
class Axis:
    """The range of an axis.

    Attributes:
        low: its lower end.
        high: its upper end.
        logarithmic: whether the axis is logarithmic.
    """

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, numbers: Iterable[float]) -> "Axis":
        """Returns an axis for losses: linear from 0, so that a loss that hardly falls is seen as such, or logarithmic.

        Example:
            >>> Axis.around([2.0, 1.0, float("nan")]), Axis.around([1.0, 300.0])
            (Axis(low=0.0, high=2.0, logarithmic=False), Axis(low=1.0, high=300.0, logarithmic=True))
        """
        finite = [float(x) for x in numbers if math.isfinite(x)] or [0.0]
        low, high = min(finite), max(finite)
        if 0 < low * LOG_RANGE < high:
            return cls(low, high, True)
        low, high = min(low, 0.0), max(high, 0.0)
        return cls(low, high if high > low + 1e-300 else low + 1.0)

    def position(self, number: float) -> float:
        """Returns the position of a number on the axis: 0 at the lower end, 1 at the upper end."""
        if self.logarithmic:
            return (math.log(number) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (number - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Returns two to eight round numbers within the range.

        Example:
            >>> Axis(0, 200).ticks(), Axis(0.2, 400, True).ticks(), Axis(1.5, 60, True).ticks()
            ([0.0, 50.0, 100.0, 150.0, 200.0], [1.0, 10.0, 100.0], [2.0, 5.0, 10.0, 20.0, 50.0])
        """
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
            factors = (1, 2, 5) if self.high < 100 * self.low else (1,)
            numbers = [factor * 10.0**exponent for exponent in exponents for factor in factors]
            inside = [number for number in numbers if self.low <= number <= self.high]
            return inside[:: 1 + len(inside) // 7]
        third = (self.high - self.low) / 3
        size = 10.0 ** math.floor(math.log10(third))
        step = size * max(factor for factor in (1, 2, 5) if factor == 1 or factor * size <= third)
        return [at * step for at in range(math.ceil(self.low / step), math.floor(self.high / step + 1e-9) + 1)]


def shares(losses: Losses) -> Losses:
    """Returns the losses of several runs relative to their first values, since a repair may change the loss's scale.

    The losses of a single run are returned unchanged, and so are all if one does not start above 0.

    Example:
        >>> shares({"sick": [4.0, 2.0], "repaired": [2.0, 0.5]})
        {'sick': [1.0, 0.5], 'repaired': [1.0, 0.25]}
    """
    if len(losses) < 2 or not all(0 < each[0] < math.inf for each in losses.values()):
        return losses
    return {name: [loss / each[0] for loss in each] for name, each in losses.items()}


def sparklines(losses: Losses, relative: bool = True) -> list[str]:
    """Draws losses as lines of block characters on one axis, with the first loss and the mean of the last ten.

    Args:
        losses: of several runs, or of one.
        relative: draws the losses of several runs relative to their first values.

    Example:
        >>> sparklines({"loss": [4.0, 3.0, 2.0, 1.0, 0.0]})
        ['loss  █▆▅▃▁  4 → 2']
    """
    drawn = shares(losses) if relative else losses
    width, length = max(map(len, losses), default=0), max(map(len, losses.values()), default=0)
    axis = Axis.around(loss for each in drawn.values() for loss in each)
    ends = {name: (each[0], sum(each[-10:]) / len(each[-10:])) for name, each in losses.items()}
    return [
        f"{name:{width}}  {blocks(drawn[name], axis, length)}  {first:.3g} → {last:.3g}"
        for name, (first, last) in ends.items()
    ]


def svg_figure(losses: Losses, relative: bool = True) -> str:
    """Draws losses by step as an SVG figure, as `sparklines`; returns an empty string if there are none."""
    if not losses:
        return ""
    drawn = shares(losses) if relative else losses
    label = "loss" if drawn is losses else "loss, as a share of the first"
    title = f"Loss, {' and '.join(losses)}" if len(losses) > 1 else "Loss of the examination's own training"
    return svg({name: (range(len(each)), each) for name, each in drawn.items()}, ("steps of training", label), title)


def blocks(numbers: Sequence[float], axis: Axis, length: int) -> str:
    """Draws numbers as block characters, averaged over intervals if there are more numbers than columns.

    Args:
        numbers: values that are not finite are left out; an interval without others is blank.
        axis: the axis of the numbers.
        length: how many numbers fill the line.

    Example:
        >>> blocks([7.0, 3.0, float("nan"), 0.0], Axis(0, 7), 5)
        '█▄ ▁ '
    """
    count = min(COLUMNS, length)
    intervals = [numbers[length * at // count : length * (at + 1) // count] for at in range(count)]
    finite = [[number for number in interval if math.isfinite(number)] for interval in intervals]
    heights = [
        round(axis.position(sum(number / len(part) for number in part)) * (len(BLOCKS) - 1)) if part else None
        for part in finite
    ]
    return "".join(" " if height is None else BLOCKS[height] for height in heights)


def svg(lines: Mapping[str, Line], labels: tuple[str, str], title: str) -> str:
    """Draws lines as an SVG element, for a page or a file.

    Args:
        lines: x and y values by name; points that are not finite are left out. A line that ends before the others is
            marked by a cross.
        labels: of the x and the y axis.
        title: above the figure, and its description for screen readers.

    Returns:
        An SVG element with white background.
    """
    drawn = {
        name: [(x, y) for x, y in zip(*line, strict=True) if math.isfinite(x) and math.isfinite(y)]
        for name, line in lines.items()
    }
    across = Axis(0.0, max((x for points in drawn.values() for x, _ in points), default=1.0) or 1.0)
    up = Axis.around(y for points in drawn.values() for _, y in points)
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM

    def column(x: float) -> float:
        return round(LEFT + across.position(x) * (right - LEFT), 2)

    def row(y: float) -> float:
        return round(floor - up.position(y) * (floor - TOP - HEADROOM), 2)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="15" font-size="12" font-weight="bold">{escape(title)}</text>',
    ]
    for at in up.ticks():
        parts.append(f'<path d="M{LEFT} {row(at)}H{right}" stroke="#ddd"/>')
        parts.append(f'<text class="y" x="{LEFT - 6}" y="{row(at) + 4:g}" text-anchor="end">{at:g}</text>')
    for at in across.ticks():
        parts.append(f'<path d="M{column(at)} {floor}v4" stroke="#222"/>')
        parts.append(f'<text class="x" x="{column(at)}" y="{floor + 16}" text-anchor="middle">{at:g}</text>')
    parts += [
        f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#222"/>',
        f'<text x="{(LEFT + right) // 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(labels[0])}</text>',
        f'<text transform="translate(14 {(TOP + floor) // 2}) rotate(-90)" text-anchor="middle">{escape(labels[1])}'
        "</text>",
    ]
    for number, (name, points) in enumerate(drawn.items()):
        stroke = f'stroke="{COLOURS[number % 3]}" stroke-width="2" stroke-dasharray="{DASHES[number % 3]}"'
        path = " ".join(f"{column(x)},{row(y)}" for x, y in points)
        # A line of one point is visible only if drawn to itself with round ends.
        path, cap = (f"{path} {path}", "round") if len(points) == 1 else (path, "butt")
        parts.append(f'<polyline points="{path}" fill="none" {stroke} stroke-linecap="{cap}" stroke-linejoin="round"/>')
        if points and points[-1][0] < across.high:
            parts.append(f'<path d="M{column(points[-1][0])} {row(points[-1][1])}m-4 -4l8 8m0 -8l-8 8" {stroke}/>')
        start = LEFT + 110 * number
        parts.append(f'<path d="M{start} 29h24" {stroke}/><text x="{start + 30}" y="33">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"])
