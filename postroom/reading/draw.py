"""Stories as text, and as something that a terminal shows well."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from postroom.reading.render import Part, styled
from postroom.reading.timeline import Line, Story

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


def as_parts(story: Story) -> Iterator[list[Part]]:
    """A story as plain lines, whatever their length."""
    yield [(story.title, "bold")]
    yield from ([(f"  {name:<12}", "dim"), (value, "")] for name, value in story.about)
    yield []
    when = max((len(line.when) for line in story.lines), default=0)
    label = max((len(line.label) for line in story.lines), default=0)
    for line in story.lines:
        yield [(f"  {line.when:>{when}}", "dim"), (f"  {line.label:<{label}}  ", "bold"), *line.parts]
        yield from ([(" " * (when + label + 8), ""), (note, "dim")] for note in line.notes)


def as_renderable(story: Story) -> "RenderableType":
    """A story for a terminal, wrapped within its columns."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    about = Table.grid(padding=(0, 2))
    about.add_column(no_wrap=True)
    about.add_column(overflow="fold")
    for name, value in story.about:
        about.add_row(styled([(f"  {name}", "dim")]), styled([(value, "")]))
    lines = Table.grid(padding=(0, 2))
    lines.add_column(justify="right", no_wrap=True, style="dim")
    lines.add_column(no_wrap=True, style="bold")
    lines.add_column(overflow="fold")
    for line in story.lines:
        lines.add_row(styled([(line.when, "")]), styled([(line.label, "")]), _told(line))
    return Group(styled([(story.title, "bold")]), about, Text(""), lines)


def _told(line: Line) -> "Text":
    from rich.text import Text

    return Text("\n").join([styled(line.parts), *(styled([(f"  {note}", "dim")]) for note in line.notes)])
