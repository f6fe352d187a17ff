"""Writes the cases of this folder anew: `python -m tests.dkim.make_cases`. The same bytes every time.

The table is one list, from what passes to what does not: the mail, then what is wrong with the signature, its times, its signer,
its key, and with DNS.
"""

from tests.dkim.case import CASES, Case, Expected
from tests.dkim.table_keys import KEY_CASES
from tests.dkim.table_mails import MAIL_CASES
from tests.dkim.table_signatures import SIGNATURE_CASES

ALL: list[Case] = [*MAIL_CASES, *SIGNATURE_CASES, *KEY_CASES]

__all__ = ["ALL", "Case", "Expected"]


def main() -> None:
    for old in CASES.iterdir():
        old.unlink()
    for case in ALL:
        case.write()


if __name__ == "__main__":
    main()
