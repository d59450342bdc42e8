"""A table as data, and the three ways it is written: terminal, markdown, plain text."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mrcom.core.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table as RichTable


@dataclasses.dataclass(frozen=True)
class Table:
    """Cells of text below headings. Rows come in groups that belong together."""

    title: str
    """What the table shows."""
    columns: tuple[str, ...]
    """Headings."""
    groups: tuple[tuple[tuple[str, ...], ...], ...]
    """Rows of cells, group by group."""
    notes: tuple[str, ...] = ()
    """What a reader must know to read it; printed below."""
    text_columns: int = 1
    """How many columns, from the left, hold words; the others hold numbers."""

    def __post_init__(self):
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ConfigError(
                    f"Table {self.title!r} has {len(self.columns)} columns, a row has {len(row)}."
                )

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """All rows, the groups one after the other."""
        return tuple(row for group in self.groups for row in group)


def to_rich(table: Table) -> "RichTable":
    """For a terminal."""
    # Imported here: nothing else needs it, and commands must start at once.
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    caption = "\n".join(table.notes) or None
    made = RichTable(
        title=table.title,
        caption=caption,
        box=box.SIMPLE_HEAVY,
        title_justify="left",
        caption_justify="left",
        title_style="bold",
    )
    for number, heading in enumerate(table.columns):
        made.add_column(Text(heading), justify="left" if number < table.text_columns else "right")
    for group in table.groups:
        for row in group:
            made.add_row(*(Text(cell) for cell in row), end_section=row is group[-1])
    return made


def to_markdown(table: Table) -> str:
    """For a page of documentation."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    marks = [
        "---" if number < table.text_columns else "---:" for number in range(len(table.columns))
    ]
    lines = [f"**{table.title}**", "", line(table.columns), line(marks), *map(line, table.rows)]
    return "\n".join([*lines, *(text for note in table.notes for text in ("", note))]) + "\n"


def to_text(table: Table) -> str:
    """For a log: columns of equal width, nothing but letters."""
    widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        words = [
            cell.ljust(width) if number < table.text_columns else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(words).rstrip()

    rule = "  ".join("-" * width for width in widths)
    body = [text for group in table.groups for text in (rule, *map(line, group))]
    return "\n".join([table.title, "", line(table.columns), *body, *table.notes]) + "\n"
