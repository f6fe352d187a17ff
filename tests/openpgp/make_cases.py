"""Makes the cases anew, and the keys when they are missing: `python -m tests.openpgp.make_cases`.

Needs GnuPG 2.2 or later. The mails differ from run to run in their signatures only.
"""

from tests.openpgp.making import bykey, clear, forgeries, keys, mime
from tests.openpgp.making.case import CASES
from tests.openpgp.making.gnupg import SECRET, Home


def main() -> None:
    """Writes the cases below 200, and the keys when there are none."""
    if not SECRET.is_dir():
        keys.make()
    for old in CASES.glob("*.*"):
        if int(old.name.split("-")[0]) < 200:
            old.unlink()
    with Home() as home:
        for path in sorted(SECRET.glob("*.asc")):
            if path.stem not in keys.OF_SEQUOIA:
                home.batch("--import", data=path.read_bytes())
        for module in (clear, mime, bykey, forgeries):
            for case in module.cases(home):
                case.write()


if __name__ == "__main__":
    main()
