"""Our own tables, as `postroom accounts` changes them: all of a change, or nothing."""

import threading
from dataclasses import replace

import pytest

from postroom.directory.entries import account_of
from postroom.directory.store import Refused
from tests.directory.conftest import Open
from tests.directory.people import ADA, BEN, CLEO, ask

pytestmark = pytest.mark.postgres


def test_what_is_put_is_listed_by_id(opened: Open) -> None:
    store = opened().store
    assert list(store.accounts()) == []
    assert store.put([CLEO, ADA, BEN]) == 3
    assert [account.id for account in store.accounts()] == ["ada", "ben", "cleo"]
    assert store.account("ada") == replace(ADA, addresses=tuple(sorted(ADA.addresses)))
    assert store.account("nobody") is None


def test_a_list_has_as_many_pages_as_it_takes(opened: Open) -> None:
    store = opened().store
    people = [account_of(f"{number:05}", addresses=[f"{number}@x.example"]) for number in range(2500)]
    store.put(people)
    assert [account.id for account in store.accounts()] == [account.id for account in people]


def test_putting_again_changes_nothing_and_a_change_is_taken_over(opened: Open) -> None:
    """Whom the second list does not name stays as they are."""
    store = opened().store
    store.put([ADA, BEN])
    before = list(store.accounts())
    assert store.put([ADA, BEN]) == 0
    assert list(store.accounts()) == before
    assert store.put([replace(ADA, name="Ada L.", addresses=("ada@east.example",), fingerprints=(), active=False), CLEO]) == 1
    ada, ben, cleo = store.accounts()
    assert (ada.name, ada.addresses, ada.fingerprints, ada.active) == ("Ada L.", ("ada@east.example",), (), False)
    assert (ben, cleo.id) == (before[1], "cleo")


def test_an_address_may_move_between_accounts_that_are_put_together(opened: Open) -> None:
    store = opened().store
    store.put([ADA, BEN])
    store.put([replace(ADA, addresses=BEN.addresses), replace(BEN, addresses=ADA.addresses)])
    assert store.account("ada").addresses == BEN.addresses  # type: ignore[union-attr]


def test_an_address_of_somebody_else_refuses_everything_by_name(opened: Open) -> None:
    store = opened().store
    store.put([ADA])
    taken = account_of("dora", addresses=["dora@x.example", "ada@north.example"])
    for change in (lambda: store.put([BEN, taken]), lambda: store.add(taken)):
        with pytest.raises(Refused, match=r"^ada@north\.example belongs to account 'ada' already"):
            change()
    assert [account.id for account in store.accounts()] == ["ada"]


def test_an_id_is_added_once(opened: Open) -> None:
    store = opened().store
    store.add(ADA)
    with pytest.raises(Refused, match="there is an account 'ada' already"):
        store.add(replace(ADA, addresses=("other@x.example",)))
    assert ADA.addresses[0] in store.account("ada").addresses  # type: ignore[union-attr]


def test_of_two_who_claim_an_address_at_once_one_gets_it(opened: Open) -> None:
    """The other one hears whose it is."""
    store, words = opened().store, []
    store.migrate()
    both = threading.Barrier(2)

    def claim(name: str) -> None:
        both.wait()
        try:
            store.add(account_of(name, addresses=["x@x.example", f"{name}@x.example"]))
        except Refused as error:
            words.append(str(error))

    threads = [threading.Thread(target=claim, args=(name,)) for name in ("ada", "ben")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (owner,) = store.accounts()
    assert words == [f"x@x.example belongs to account {owner.id!r} already: take it from there first"]


def test_an_account_is_switched_off_and_on(opened: Open) -> None:
    store = opened().store
    store.put([ADA])
    assert [store.set_active("ada", active) for active in (False, False, True)] == [True, False, True]
    assert store.account("ada").active  # type: ignore[union-attr]
    with pytest.raises(Refused, match="there is no account 'ben'; `postroom accounts list`"):
        store.set_active("ben", False)


def test_keys_that_the_database_holds_survive_an_import(opened: Open, database: str) -> None:
    """A file cannot name them all: it is the fingerprints without a key that become as it says."""
    store = opened().store
    store.put([ADA])
    ask(database, "INSERT INTO postroom_key VALUES ('ada', repeat('B', 40), 'its key')")
    store.put([replace(ADA, fingerprints=("C" * 40,))])
    assert set(store.account("ada").fingerprints) == {"B" * 40, "C" * 40}  # type: ignore[union-attr]
