"""OOPS reports in a real datedir repository."""

import logging
from datetime import date
from pathlib import Path

import pytest
from oops_datedir_repo import serializer

from postroom.oopses import OopsReports

ID = "OOPS-" + "0123456789abcdef" * 2


def _fail(text: str) -> None:
    fields: dict[str, str] = {}
    try:
        fields["mail"]
    except KeyError as error:
        raise ValueError(text) from error


def _raised(text: str = "no such key") -> BaseException:
    with pytest.raises(ValueError) as caught:
        _fail(text)
    return caught.value


def _record(reports: OopsReports, oops_id: str = ID, **others: object) -> None:
    reports.record(oops_id, mail_id="m" * 32, delivery_id="d" * 32, where="handler bugs", **others)  # type: ignore[arg-type]


def test_a_report_is_found_by_the_id_that_the_sender_was_told(tmp_path: Path) -> None:
    """A3 and A8: it names the stored mail, and has the traceback with what was behind it."""
    reports = OopsReports(tmp_path / "oops")
    _record(reports, error=_raised(), detail="the handler raised")
    report = reports.read(ID)
    assert report
    assert (report["id"], report["mail_id"], report["delivery_id"], report["topic"]) == (ID, "m" * 32, "d" * 32, "handler bugs")
    assert (report["type"], report["value"], report["detail"]) == ("ValueError", "ValueError: no such key", "the handler raised")
    assert report["tb_text"].index("KeyError: 'mail'") < report["tb_text"].index("ValueError: no such key")
    assert 'fields["mail"]' in report["tb_text"]
    assert reports.read("OOPS-" + "f" * 32) is None


def test_canonical_s_own_reader_finds_it_in_the_folder_of_the_day(tmp_path: Path) -> None:
    """oops-tools walk these folders; nothing half-written or nameless is left."""
    reports = OopsReports(tmp_path)
    _record(reports)
    (day,) = tmp_path.iterdir()
    assert date.fromisoformat(day.name)
    (file,) = day.iterdir()
    assert file.name == ID
    with file.open("rb") as opened:
        assert serializer.read(opened)["reporter"] == "postroom"


def test_recorded_again_the_last_one_stays(tmp_path: Path) -> None:
    """Also when a day has gone by between."""
    reports = OopsReports(tmp_path)
    _record(reports, detail="first")
    (day,) = tmp_path.iterdir()
    day.rename(tmp_path / "2001-02-03")
    _record(reports, detail="second")
    _record(reports, detail="third")
    report = reports.read(ID)
    assert report
    assert report["detail"] == "third"
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_what_an_exception_says_is_cut_and_what_cannot_be_said_is_not_raised(tmp_path: Path) -> None:
    """A message may quote the whole mail, and a class may do anything."""

    class Hostile(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    reports = OopsReports(tmp_path)
    _record(reports, error=_raised("secret body " * 10_000))
    report = reports.read(ID)
    assert report
    assert len(report["tb_text"]) < 5000
    _record(reports, error=Hostile(), detail="\0\ud800")
    report = reports.read(ID)
    assert report
    assert report["type"] == "Hostile"


def test_a_traceback_of_another_process_is_taken_as_text(tmp_path: Path) -> None:
    """Where the exception itself cannot travel."""
    reports = OopsReports(tmp_path)
    _record(reports, detail="exit status 70", traceback="Traceback: over there\n")
    report = reports.read(ID)
    assert report
    assert report["tb_text"] == "Traceback: over there\n"


def test_a_folder_that_cannot_be_written_is_an_error_in_the_log_and_nothing_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The outcome counts more than its report."""
    (tmp_path / "file").write_bytes(b"")
    with caplog.at_level(logging.ERROR):
        _record(OopsReports(tmp_path / "file" / "oops"))
    assert ID in caplog.text
    assert "oops.path" in caplog.text
    assert "Not a directory" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("oops_id", ["", "../2001-02-03/" + ID, "*", "OOPS-*", ID + "\n", ID.lower()])
def test_only_an_oops_id_is_looked_for(tmp_path: Path, oops_id: str) -> None:
    """It comes from a command line or a URL."""
    reports = OopsReports(tmp_path)
    _record(reports)
    assert reports.read(oops_id) is None


def test_a_damaged_report_is_named(tmp_path: Path) -> None:
    """By its file."""
    reports = OopsReports(tmp_path)
    _record(reports)
    (file,) = tmp_path.glob("*/*")
    file.write_bytes(b"")
    with pytest.raises(ValueError, match=ID):
        reports.read(ID)
