"""What `import` says of what it found, from outside."""

from pathlib import Path

import pytest

from tests.acceptance.place import Letters, Place

FOO = {"use": "maildir", "path": "foo/", "domains": ["foo.com"], "allow_unknown_senders": True}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """With a folder of two mails and a link to itself."""
    place = Place(tmp_path, "sqlite:///postroom.db", handlers={"foo": FOO})
    letter = Letters()
    (place.folder / "mails").mkdir()
    for number in range(2):
        place.write(f"mails/{number}.eml", letter("1@foo.com"))
    (place.folder / "mails" / "link").symlink_to("link")
    return place


def test_the_last_line_counts_what_became_of_the_files(place: Place) -> None:
    mails = str(place.folder / "mails")
    assert place.run("import", mails, status=1) == b"2 stored, 0 known already, 1 unreadable\n"
    place.write("mails/notes.txt", "no mail\n")
    assert place.run("import", mails, status=1) == b"0 stored, 2 known already, 1 unreadable, 1 passed over that did not look like mail\n"


def test_with_json_only_files_passed_over_are_told_beside_it(place: Place) -> None:
    mails = str(place.folder / "mails")
    errors = [line["error"] for line in place.lines("import", mails, status=1)]
    assert errors == [None, None, "cannot be read: Too many levels of symbolic links"]
    assert place.stderr == ""
    place.write("mails/notes.txt", "no mail\n")
    assert len(place.lines("import", mails, status=1)) == 3
    assert place.stderr == "postroom: 1 passed over that did not look like mail\n"
