"""`topics` and `lag` on every engine."""

from tests.acceptance.conftest import MakePlace
from tests.acceptance.place import Letters, Place

PARTED = {"log.topics": {"partitions": 2}}
FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"]}


def prefix_of(place: Place) -> str:
    """The site's prefix of topics."""
    rows: list[dict[str, str]] = place.lines("topics", status=None)
    return rows[0]["topic"].removesuffix(".raw")


def test_topics_are_missing_until_they_are_made(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO}, sections=PARTED)
    rows = place.lines("topics", status=1)
    assert {row["state"] for row in rows} == {"missing"}
    assert "`postroom topics --create` makes it" in place.stderr
    rows = place.lines("topics", "--create")
    assert {row["state"] for row in rows} == {"ok"}
    assert {row["partitions"] for row in rows if not row["topic"].endswith(".replays")} == {2}
    assert [row["partitions"] for row in rows if row["topic"].endswith(".replays")] == [1]
    assert "routed.foo" in place.run("topics").decode()


def test_another_number_of_partitions_than_the_settings_say_is_refused_everywhere(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO}, sections=PARTED)
    place.mail(letter("1@foo.com"))
    settings = (place.folder / "postroom.toml").read_text()
    place.write("postroom.toml", settings.replace("partitions = 2", "partitions = 12"))
    rows = place.lines("topics", "--create", status=1)
    assert {row["state"] for row in rows if not row["topic"].endswith(".replays")} == {"drifted"}
    assert {row["partitions"] for row in rows} == {2, 1}
    assert "it has 2 partitions, [log.topics] partitions asks for 12" in place.stderr
    for command, status in (("run", 2), ("import", 2), ("pipe", 75)):
        more = {"run": ["--drain"], "import": [str(place.folder / "mail-0001.eml")], "pipe": []}[command]
        place.run(command, *more, data=letter("2@foo.com").encode(), status=status)
        assert len(place.stderr.strip().splitlines()) == 1
        assert "[log.topics] partitions" in place.stderr
    assert "[log.topics] partitions" in str(place.lines("check", status=2))
    place.write("postroom.toml", settings)
    place.drain()
    assert [row["status"] for row in place.outcomes()] == ["handled"]


def test_lag_tells_what_each_group_has_before_it_and_since_when(make: MakePlace, letter: Letters) -> None:
    place = make(handlers={"foo": FOO}, sections=PARTED)
    place.imported([letter(f"{number}@foo.com") for number in range(5)])
    rows = {(row["group"], row["topic"]): row for row in place.lines("lag")}
    prefix = prefix_of(place)
    raw = rows.pop((f"postroom.{prefix}.bounce-filter", f"{prefix}.raw"))
    assert raw["behind"] >= 5  # on Kafka the mark of a transaction takes an offset, too
    assert raw["oldest"].endswith("Z")
    assert raw["waiting"] >= 0
    assert {row["behind"] for row in rows.values()} == {0}
    assert {row["oldest"] for row in rows.values()} == {row["retention_left"] for row in rows.values()} == {None}
    place.run("run", "chain", "--drain")
    rows = {(row["group"], row["topic"]): row for row in place.lines("lag")}
    assert rows[f"postroom.{prefix}.bounce-filter", f"{prefix}.raw"]["behind"] == 0
    assert rows[f"postroom.{prefix}.handler.foo", f"{prefix}.routed.foo"]["behind"] >= 5
    place.drain()
    assert {row["behind"] for row in place.lines("lag")} == {0}
    assert "handler.foo" in place.run("lag").decode()


def test_lag_before_there_are_topics_says_how_to_make_them(make: MakePlace) -> None:
    place = make(handlers={"foo": FOO}, sections=PARTED)
    place.run("lag", status=2)
    assert "topics" in place.stderr
