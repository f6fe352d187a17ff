"""`postroom accounts`: who the senders are. Lists and shows whatever the directory; changes our own tables on PostgreSQL."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from postroom.arguments import utf8
from postroom.printable import safe
from postroom.reading.out import Out, stop
from postroom.reading.render import Part
from postroom.settings import SettingsError
from postroom.site import Site, from_context
from topology.address import key
from topology.ports import Account

if TYPE_CHECKING:
    from postroom.directory.store import Store

Json = Annotated[bool, typer.Option("--json", help="A line of JSON an account.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The account's id.", callback=utf8)]

_COMMANDS = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Who the senders are: list, show, and change them on PostgreSQL.")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(_COMMANDS, name="accounts")


@_COMMANDS.command("list")
def list_(ctx: typer.Context, as_json: Json = False) -> None:
    """List all accounts, by id."""
    out = Out()
    for account in from_context(ctx).directory.accounts():
        out.json(_row(account)) if as_json else out.line(*_line(account))
    out.flush()


@_COMMANDS.command()
def show(
    ctx: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID_OR_ADDRESS", help="The account's id, or one of its addresses.", callback=utf8)],
    as_json: Json = False,
) -> None:
    """Show an account, by its id or as a mail from this address would find it."""
    site = from_context(ctx)
    account = _found(site, id_)
    if account is None:
        stop(f"there is no account of that id or address: {safe(id_)}", 1)
    row = _row(account) | {"keys": sorted(_held(site).intersection(account.fingerprints))}
    out = Out()
    if as_json:
        out.json(row)
    else:
        for name, value in row.items():
            out.line((f"{name:<15}", "dim"), (safe(_words(value)), ""))
    out.flush()


@_COMMANDS.command()
def add(
    ctx: typer.Context,
    id_: Id,
    name: Annotated[str, typer.Option(help="How people call it; the id if not given.", callback=utf8)] = "",
    addresses: Annotated[
        list[str] | None, typer.Option("--address", help="A verified address of it; may be repeated.", callback=utf8)
    ] = None,
    require_strong: Annotated[bool, typer.Option("--require-strong", help="Unsigned mail of it is returned.")] = False,
) -> None:
    """Add an account."""
    from postroom.directory import entries

    store = _store(from_context(ctx))
    try:
        known = [entries.address(address) for address in addresses or ()]
        account = entries.account_of(entries.text(id_), entries.text(name), known, require_strong=require_strong)
    except ValueError as error:
        stop(str(error), 2)
    if not id_:
        stop("the id is empty: give one by which the product knows this account", 2)
    _do(lambda: store.add(account))
    print(f"added {safe(id_)}: {safe(', '.join(account.addresses)) or 'no address'}")


@_COMMANDS.command("import")
def import_(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(help="A file as [accounts] file would name.", dir_okay=False)]
) -> None:
    """Take over the accounts of a TOML file, all or none: those that are there become as the file says, others stay as they are."""
    from postroom.directory.entries import read_accounts

    store, accounts = _store(from_context(ctx)), read_accounts(file)
    new = _do(lambda: store.put(accounts))
    print(f"{len(accounts)} accounts: {new} new, {len(accounts) - new} as the file says now")


@_COMMANDS.command()
def deactivate(ctx: typer.Context, id_: Id) -> None:
    """From the next mail on, mails of this account are rejected."""
    store = _store(from_context(ctx))
    print(f"{safe(id_)} is {'' if _do(lambda: store.set_active(id_, False)) else 'already '}inactive")


@_COMMANDS.command()
def activate(ctx: typer.Context, id_: Id) -> None:
    """Let an account write again."""
    store = _store(from_context(ctx))
    print(f"{safe(id_)} is {'' if _do(lambda: store.set_active(id_, True)) else 'already '}active")


@_COMMANDS.command("add-key")
def add_key(
    ctx: typer.Context, id_: Id, file: Annotated[Path, typer.Argument(help="Its public OpenPGP key, armoured or not.", dir_okay=False)]
) -> None:
    """Keep an account's public key in the database: what it signs proves the account from the next mail on."""
    from topology.openpgp.sources import KeyringError, certificates

    store = _store(from_context(ctx))
    try:
        found = list(certificates(str(file), file.read_bytes()))
    except OSError as error:
        stop(f"{file}: cannot be read: {error.strerror}", 2)
    except KeyringError as error:
        stop(str(error), 1)
    _do(lambda: store.add_key(id_, found))
    for certificate in found:
        print(f"added to {safe(id_)}: {certificate.fingerprint}")


@_COMMANDS.command("remove-key")
def remove_key(ctx: typer.Context, id_: Id, fingerprint: Annotated[str, typer.Argument(help="Of the key, all its digits.")]) -> None:
    """Take a key from an account: what it signs proves nothing from the next mail on."""
    from postroom.directory import entries

    store = _store(from_context(ctx))
    try:
        bare = entries.fingerprint(fingerprint)
    except ValueError as error:
        stop(str(error), 2)
    _do(lambda: store.remove_key(id_, bare))
    print(f"removed from {safe(id_)}: {bare}")


@_COMMANDS.command()
def migrate(ctx: typer.Context) -> None:
    """Make the tables, or bring them up to date. The other commands do so, too; `run` does not."""
    before, after = _store(from_context(ctx)).migrate()
    print(f"the tables have version {after}" + (f", and had {before}" if before != after else " already"))


def _store(site: Site) -> "Store":
    """What changes the accounts. Raises SettingsError where they are not ours to change."""
    if not site.settings.accounts.postgresql:
        raise SettingsError(f"the accounts are in a file: edit {site.config.path(site.settings.accounts.file or Path('accounts.toml'))}")
    from postroom.directory.postgres import PostgresDirectory

    assert isinstance(site.directory, PostgresDirectory)
    return site.directory.store


def _do(change: Callable[[], Any]) -> Any:
    """A change; where it is refused, that is said, and the exit status is 1."""
    from postroom.directory.store import Refused

    try:
        return change()
    except Refused as error:
        stop(str(error), 1)


def _found(site: Site, id_: str) -> Account | None:
    address, directory = key(id_), site.directory
    found = directory.lookup([address]).get(address) if address else None
    if site.settings.accounts.query and address:
        return found  # the user's tables are asked by address only
    return directory.account(found.id if found else id_)


def _held(site: Site) -> frozenset[str]:
    """The fingerprints of the keys that we hold. Raises SettingsError."""
    from topology.openpgp import KeyringError

    try:
        site.keyring.reload()
    except KeyringError as error:
        raise SettingsError(f"[accounts] keys: {error}") from error
    return site.keyring.fingerprints()


def _row(account: Account) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.name,
        "active": account.active,
        "addresses": account.addresses,
        "fingerprints": account.fingerprints,
        "require_strong": account.require_strong,
    }


def _line(account: Account) -> list[Part]:
    keys = len(account.fingerprints)
    marks = ["inactive"] * (not account.active) + ["strong only"] * account.require_strong + [f"{keys} keys"] * bool(keys)
    return [
        (f"{safe(account.id):<16}", "bold" if account.active else "dim"),
        (f" {safe(account.name):<24}", ""),
        (f" {safe(', '.join(account.addresses))}", ""),
        (f"  ({', '.join(marks)})" if marks else "", "dim"),
    ]


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else ", ".join(value)
