"""Numbers as people read them: one precision per column, true minus signs, units beside them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tenfold.engine.stats import Interval

Cell = str | int | float | None

ABSENT = "–"
_NUMERIC = re.compile(r"[−+-]?\d")


def format_number(value: float, *, digits: int = 3) -> str:
    """Write one number with `digits` significant digits, whole numbers in full.

    >>> format_number(-1234.5678), format_number(0.0123456), format_number(12)
    ('−1,235', '0.0123', '12')
    """
    if not math.isfinite(value):
        return ABSENT
    return _write(value, _decimals([value], digits), digits)


def format_column(cells: Sequence[Cell], *, digits: int = 3) -> tuple[str, ...]:
    """Write a column so that its decimal points stand under each other; text stays as it is."""
    numbers = [cell for cell in cells if isinstance(cell, float) and math.isfinite(cell)]
    decimals = _decimals(numbers, digits)
    return tuple(_cell(cell, decimals, digits) for cell in cells)


def is_numeric(cells: Sequence[Cell]) -> bool:
    """Tell whether a column is to be set flush right: all its cells are or begin with numbers."""
    present = [cell for cell in cells if cell is not None and cell != ABSENT]
    return bool(present) and all(
        not isinstance(cell, str) or _NUMERIC.match(cell) is not None for cell in present
    )


def format_interval(interval: Interval | None, *, unit: str = "") -> str:
    """Write an estimate with its bounds, to two digits of the half width: "18.2 % [14.0, 22.4]"."""
    if interval is None:
        return ABSENT
    decimals = _decimals([(interval.high - interval.low) / 2 or interval.estimate], 2)
    values = (interval.low, interval.estimate, interval.high)
    low, estimate, high = (f"{value:,.{decimals}f}".replace("-", "−") for value in values)
    return f"{with_unit(estimate, unit)} [{low}, {high}]"


def format_seconds(seconds: float) -> str:
    """Write a duration in the largest two units that say something.

    >>> format_seconds(4.26), format_seconds(75), format_seconds(7_500)
    ('4.3 s', '1 min 15 s', '2 h 5 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def with_unit(number: str, unit: str) -> str:
    """Put a unit behind a number, joined so that no line breaks between them."""
    return f"{number}\u00a0{unit}" if unit else number


def _decimals(numbers: Sequence[float], digits: int) -> int:
    """Return the decimals that show `digits` significant digits of three numbers in four."""
    sizes = sorted(abs(number) for number in numbers if number)
    if not sizes:
        return 0
    magnitude = math.floor(math.log10(sizes[len(sizes) // 4]))
    return min(max(digits - 1 - magnitude, 0), 6)


def _cell(cell: Cell, decimals: int, digits: int) -> str:
    if cell is None:
        return ABSENT
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int):
        return f"{cell:,}".replace("-", "−")
    return _write(cell, decimals, digits) if math.isfinite(cell) else ABSENT


def _write(value: float, decimals: int, digits: int) -> str:
    if isinstance(value, int):
        text = f"{value:,}"
    elif value and not 0.5 * 10.0**-decimals <= abs(value) < 1e9:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:,.{decimals}f}"
    return text.replace("-", "−")
