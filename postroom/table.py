"""`postroom topology`: the table of topology.table for one installation, printed and drawn."""

from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.tree import Tree

from postroom.site import Site
from topology import table
from topology.records import Topics


def rows_of(site: Site) -> list[dict[str, Any]]:
    """The rows of an installation, its handlers in place."""
    faust = frozenset(name for name, handler in site.settings.handlers.items() if handler.runtime == "faust")
    names = tuple(site.handler_names)
    return [_plain(row, site.topics) for row in table.rows(site.topics, names or ("<name>",), faust)]


def rows() -> list[dict[str, Any]]:
    """The rows without an installation, with the default prefix."""
    topics = Topics("mail")
    return [_plain(row, topics) for row in table.rows(topics)]


def _plain(row: table.Row, topics: Topics) -> dict[str, Any]:
    role, _, name = row.role.partition(":")
    group = topics.group(f"{role}.{name}" if name else role)
    return {
        "stage": row.role,
        "sources": [*row.sources],
        "writes": [*row.targets],
        "outcomes": row.ends,
        "group": group,
        "words": row.words,
    }


def draw(found: list[dict[str, Any]], console: Console) -> None:
    """The table, and under it the way of a mail as a tree."""
    grid = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in ("source", "stage", "writes", "outcomes and events"):
        grid.add_column(column, overflow="fold")
    for row in found:
        grid.add_row("\n".join(row["sources"]), row["stage"], "\n".join(row["writes"]), row["outcomes"])
    console.print(grid)
    console.print()
    console.print(_tree(found))


def _tree(found: list[dict[str, Any]]) -> Tree:
    raw = found[0]["sources"][0]
    tree = Tree(f"[bold]{raw}[/]")
    _grow(tree, raw, found, set())
    return tree


def _grow(tree: Tree, topic: str, found: list[dict[str, Any]], seen: set[str]) -> None:
    """Below a topic: the stages that read it, and what they write."""
    for row in found:
        if topic not in row["sources"] or row["stage"] in seen:
            continue
        seen.add(row["stage"])
        branch = tree.add(f"{row['stage']}  [dim]{row['words']}[/]")
        branch.add(f"[dim]{row['outcomes']}[/]")
        targets = [target for target in row["writes"] if ".retry." not in target]
        for target in targets:
            concrete = [source for other in found for source in other["sources"] if source == target or _fits(target, source)]
            for name in dict.fromkeys(concrete):
                _grow(branch.add(f"[bold]{name}[/]"), name, found, seen)


def _fits(target: str, source: str) -> bool:
    """Whether a written pattern such as mail.routed.<name> means this topic."""
    return target.endswith("<name>") and source.startswith(target.removesuffix("<name>")) and ".retry." not in source
