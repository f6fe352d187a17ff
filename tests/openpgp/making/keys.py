"""The keys of the cases. None has a passphrase; all were made for these tests and are trusted by nobody."""

from pysequoia import CipherSuite, Profile, Tsk

from tests.openpgp.making.gnupg import KEYS, SECRET, Home, user

_KEY_COMPROMISED, _SUPERSEDED, _NO_LONGER_USED, _NO_REASON = "1", "2", "3", "0"
_REVOKED = {
    "superseded": _SUPERSEDED,
    "retired": _NO_LONGER_USED,
    "compromised": _KEY_COMPROMISED,
    "no-reason": _NO_REASON,
    "sha1-retired": _NO_LONGER_USED,
}
_REVOKED_AT = "20220101T000000"
_MADE_AT = "20200101T000000"

_SIMPLE = {"ed25519": "ed25519", "other": "ed25519", "rsa": "rsa3072", "p256": "nistp256", "stranger": "ed25519", "dsa": "dsa2048"}
_OLD_SHA1 = ("sha1-bound", "sha1-retired")
OF_SEQUOIA = ("sequoia", "version6")
_WITH_SUBKEY = ("subkey", "revoked-subkey")


def make() -> None:
    """Makes every key anew. The secret ones are written as they were before they expired or were revoked, so that gpg signs with them
    at any time; the public ones as they are known after that."""
    SECRET.mkdir(parents=True, exist_ok=True)
    with Home() as home:
        for name, algorithm in {**_SIMPLE, "rsa1024": "rsa1024", "brainpool": "brainpoolP256r1"}.items():
            home.make(name, algorithm)
        for name in ("superseded", "retired", "compromised", "no-reason", "expired", "extended"):
            home.make(name, "ed25519")
        for name in _WITH_SUBKEY:
            home.make(name, "ed25519", "cert")
            home.batch("--quick-add-key", home.fingerprint(name), "ed25519", "sign", "never", at=_MADE_AT)
        for name in _OLD_SHA1:
            home.make(name, "rsa3072", "sign", "never", "20110101T000000", "--cert-digest-algo", "SHA1")
        names = sorted(home.names())
        for name in names:
            home.keep_secret(name)
        home.batch("--quick-set-expire", home.fingerprint("expired"), "2021-01-01", at="20200601T000000")
        home.batch("--quick-set-expire", home.fingerprint("extended"), "2030-01-01", at="20260201T000000")
        _revoke(home)
        for name in names:
            home.keep_public(name)
    _make_with_sequoia()


def _revoke(home: Home) -> None:
    for name, reason in _REVOKED.items():
        answers = f"y\n{reason}\n\ny\n".encode()
        home.batch("--import", data=home.run("--command-fd", "0", "--gen-revoke", home.fingerprint(name), data=answers, at=_REVOKED_AT))
    commands = f"key 1\nrevkey\ny\n{_NO_LONGER_USED}\n\ny\nsave\n".encode()
    home.run("--command-fd", "0", "--edit-key", home.fingerprint("revoked-subkey"), data=commands, at=_REVOKED_AT)


def _make_with_sequoia() -> None:
    """Sequoia's own keys: a signing subkey under a certifying primary key; one of version 4, one of version 6 (RFC 9580)."""
    for name, profile in zip(OF_SEQUOIA, (Profile.RFC4880, Profile.RFC9580), strict=True):
        key = Tsk.generate(user(name), profile=profile, cipher_suite=CipherSuite.Cv25519)
        (KEYS / f"{name}.asc").write_text(str(key.extract_certificate()))
        (SECRET / f"{name}.asc").write_text(str(key))
