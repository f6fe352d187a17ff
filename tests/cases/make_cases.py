"""Writes the cases anew: `python -m tests.cases.make_cases`. The same bytes every time; cases put here by hand stay."""

from tests.cases.case import Case
from tests.cases.table_authors import AUTHOR_CASES
from tests.cases.table_dkim import DKIM_CASES
from tests.cases.table_openpgp import OPENPGP_CASES
from tests.cases.table_results import RESULTS_CASES

ALL: list[Case] = [*OPENPGP_CASES, *DKIM_CASES, *RESULTS_CASES, *AUTHOR_CASES]


def main() -> None:
    """Writes every case of the tables."""
    for case in ALL:
        case.write()


if __name__ == "__main__":
    main()
