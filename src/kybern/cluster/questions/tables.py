"""Tables for people: left-aligned columns, colours on terminals only, no borders, no wrapping."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

Cell = str | Text

GAP = "   "


def say(console: Console, text: Text | str) -> None:
    """Print a line as it is, however long."""
    console.print(Text(text) if isinstance(text, str) else text, soft_wrap=True)


def table(console: Console, names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table after an empty line; nothing without rows."""
    if not rows:
        return
    lines = [[Text(name, "bold") for name in names]]
    lines += [[Text(one) if isinstance(one, str) else one for one in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    say(console, "")
    for line in lines:
        for cell, width in zip(line, widths, strict=True):
            cell.pad_right(width - len(cell))
        joined = Text(GAP).join(line)
        joined.rstrip()
        say(console, joined)
