"""Mails by every kind of key, at every time of its life (S1 to S5), and what only GnuPG accepts."""

from collections.abc import Iterator

from pysequoia import Sig, SignatureMode, Tsk, sign

from tests.openpgp.making import byhand
from tests.openpgp.making.case import Case, good, one
from tests.openpgp.making.gnupg import SECRET, SIGNED_AT, Home
from tests.openpgp.making.mail import SHOWN, TEXT, mail, plain, signed, text_part

_MIME_SHOWN = TEXT.decode().removesuffix("\n")
_BEFORE_REVOCATION = "20210101T120000"


def _time(at: str) -> str:
    return f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[9:11]}:{at[11:13]}:{at[13:15]}.000Z"


def _received(at: str) -> str:
    """Five minutes later; the signing times here are full hours."""
    return f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[9:11]}:05:00Z"


def cases(home: Home) -> Iterator[Case]:
    """All of them."""
    for number, name, shows in (
        (40, "rsa", "An RSA key of 3,072 bits signs."),
        (41, "p256", "An ECDSA key on the curve P-256 signs."),
        (42, "subkey", "A signing subkey signs, under a primary key that only certifies."),
    ):
        tail = " The fact names the certificate, and the key that signed."
        yield Case(f"{number}-{name}", shows + tail, plain(home.clear(TEXT, name)), good(name), SHOWN)
    yield from _of_sequoia()
    yield from _lives(home)
    yield from _times(home)
    yield from _legacy(home)


def _of_sequoia() -> Iterator[Case]:
    for number, name in ((43, "sequoia"), (44, "version6")):
        block = sign(Tsk.from_file(str(SECRET / f"{name}.asc")).signer(), TEXT, mode=SignatureMode.CLEAR)
        created = Sig.from_bytes(block[block.index(b"-----BEGIN PGP SIGNATURE") :]).created
        assert created
        version = 6 if name == "version6" else 4
        shows = f"Sequoia's own signature, made with a key of version {version} at the time of the case. It signs the last line end too."
        at = f"{created:%Y-%m-%dT%H:%M:%S}"
        yield Case(f"{number}-{name}", shows, plain(block), good(name, created_at=f"{at}.000Z"), SHOWN + "\n", received_at=f"{at}Z")


def _lives(home: Home) -> Iterator[Case]:
    """Keys that expired or were revoked. All were revoked on 1 January 2022."""

    def case(name: str, shows: str, key: str, at: str, verdict: str) -> Case:
        expected = good(key, created_at=_time(at)) if verdict == "good" else one(verdict, key, created_at=_time(at))
        text = SHOWN if verdict == "good" else None
        return Case(name, shows, plain(home.clear(TEXT, key, at=at)), expected, text, received_at=_received(at))

    early = _BEFORE_REVOCATION
    yield case(
        "45-expired-since",
        "The key expired on 1 January 2021, after it signed. It is judged as of the signature.",
        "expired",
        "20201201T120000",
        "good",
    )
    yield case(
        "47-superseded-since",
        "The key was revoked as superseded a year after it signed. What it signed before stays good.",
        "superseded",
        early,
        "good",
    )
    yield case(
        "48-superseded",
        "The key was revoked as superseded before it signed. It might not sign any more.",
        "superseded",
        SIGNED_AT,
        "revoked-key",
    )
    yield case(
        "49-retired-since", "The key was retired a year after it signed. What it signed before stays good.", "retired", early, "good"
    )
    yield case(
        "50-compromised",
        "The key was revoked as compromised a year after it signed. Nobody knows who signed, whatever the time.",
        "compromised",
        early,
        "revoked-key",
    )
    yield case(
        "51-no-reason",
        "The key was revoked without a reason. That counts as compromised (RFC 9580 section 5.2.3.31).",
        "no-reason",
        early,
        "revoked-key",
    )
    yield case(
        "52-revoked-subkey-since",
        "The subkey was retired a year after it signed, its primary key never. It stays good.",
        "revoked-subkey",
        early,
        "good",
    )
    yield case(
        "53-revoked-subkey",
        "The subkey was retired before it signed, its primary key never. The subkey counts.",
        "revoked-subkey",
        SIGNED_AT,
        "revoked-key",
    )
    yield case(
        "46-expired",
        "The key expired on 1 January 2021, five years before it signed. Extending it now would change nothing of that.",
        "expired",
        SIGNED_AT,
        "expired-key",
    )
    extended = good("extended", "gnupg")
    shows = "The key was extended after it signed, and gpg replaced its self-signature. Sequoia misses the older one, and GnuPG does not."
    yield Case("39-extended-since", shows, plain(home.clear(TEXT, "extended")), extended, SHOWN)
    young = byhand.version_4("rsa", b"", "20190101T120000", "sha256", kind=1)
    shows = "The signature says that it is older than the key that made it. A clock was wrong, or somebody lies."
    block = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n\n" + young
    yield Case("38-younger-key", shows, plain(block), one("unusable-key", "rsa", created_at="2019-01-01T12:00:00.000Z"))
    yield Case(
        "54-unknown-key",
        "A good signature by a key that we do not hold. Nothing can be said of it but the key's name.",
        plain(home.clear(TEXT, "stranger")),
        one("unknown-key"),
    )


def _times(home: Home) -> Iterator[Case]:
    """The signature's own time, and its end. The window of S5 is the caller's."""

    def mime(at: str, *options: str) -> bytes:
        part = text_part()
        return mail(signed(part, home.detached(part, "ed25519", at=at, options=("--armor", *options))))

    def case(name: str, shows: str, raw: bytes, at: str, engine: str) -> Case:
        return Case(name, shows, raw, good("ed25519", engine, created_at=_time(at)), _MIME_SHOWN, form="mime", part="1")

    old, ahead, far = "20260107T120000", "20260110T140000", "20990101T120000"
    yield case(
        "55-signed-three-days-ago",
        "Signed three days before it came. The fact says so, and the caller's window refuses it (S5).",
        mime(old),
        old,
        "sequoia",
    )
    yield case(
        "56-signed-ahead",
        "Signed two hours after it came. GnuPG judges it with the clock set to then, today and in a year.",
        mime(ahead),
        ahead,
        "gnupg",
    )
    yield case(
        "57-signed-far-ahead", "Signed in 2099. Sequoia would refuse it by the clock; GnuPG says whose it is.", mime(far), far, "gnupg"
    )
    lasting = mime(SIGNED_AT, "--default-sig-expire", "1d")
    yield case(
        "58-expires-later",
        "The signature holds for a day, and the mail came within it. Judged in a year it is still good.",
        lasting,
        SIGNED_AT,
        "gnupg",
    )
    yield Case(
        "59-expired-signature",
        "The signature held for a day, and the mail came three days later. Its signer wanted it to count no more.",
        lasting,
        one("expired-signature", "ed25519"),
        form="mime",
        received_at="2026-01-13T12:00:00Z",
    )


def _legacy(home: Home) -> Iterator[Case]:
    """What the setting openpgp_legacy decides about."""
    part = text_part()

    def case(name: str, shows: str, key: str, armor: bytes, engine: str = "gnupg", at: str = SIGNED_AT) -> Case:
        signatures = good(key, engine, legacy=True, created_at=_time(at))
        raw = mail(signed(part, armor, micalg=""))
        return Case(name, shows, raw, signatures, _MIME_SHOWN, form="mime", part="1", received_at=_received(at))

    def made(key: str, *options: str, at: str = SIGNED_AT) -> bytes:
        return home.detached(part, key, options=("--armor", *options), at=at)

    yield case(
        "60-dsa",
        "A DSA key of 2,048 bits with SHA-256. Sequoia still judges it; RFC 9580 deprecates it, so it is legacy.",
        "dsa",
        made("dsa"),
        "sequoia",
    )
    yield case(
        "61-sha1",
        "A modern RSA key that signs with SHA-1. Sequoia refuses, and GnuPG accepts.",
        "rsa",
        made("rsa", "--digest-algo", "SHA1"),
    )
    yield case(
        "62-version-3",
        "A signature of version 3 by a modern RSA key, made by hand. Only GnuPG knows them.",
        "rsa",
        byhand.version_3("rsa", part, SIGNED_AT),
    )
    yield case(
        "63-version-3-sha256",
        "Version 3 with SHA-256. The version alone makes it legacy.",
        "rsa",
        byhand.version_3("rsa", part, SIGNED_AT, "sha256"),
    )
    yield case(
        "64-sha1-bound",
        "A key of 2011 whose self-signature is SHA-1 signs with SHA-512. Sequoia refuses the key.",
        "sha1-bound",
        made("sha1-bound"),
    )
    yield case("65-brainpool", "A key on a Brainpool curve, which our Sequoia does not have. GnuPG does.", "brainpool", made("brainpool"))
    yield case("66-rsa-1024", "An RSA key of 1,024 bits. Sequoia's policy refuses it, and GnuPG accepts.", "rsa1024", made("rsa1024"))
    early = _BEFORE_REVOCATION
    shows = "An old key retired a year after it signed. GnuPG refuses all that a revoked key signed, which is too much."
    yield case("67-sha1-bound-retired-since", shows, "sha1-retired", made("sha1-retired", at=early), at=early)
    yield Case(
        "68-sha1-bound-retired",
        "The same key retired before it signed. GnuPG need not be asked.",
        mail(signed(part, made("sha1-retired"), micalg="")),
        one("revoked-key", "sha1-retired"),
        form="mime",
    )
    yield Case(
        "69-md5",
        "A signature with MD5, made by hand. Anybody could have made another text with the same hash.",
        mail(signed(part, byhand.version_4("rsa", part, SIGNED_AT, "md5"), micalg="")),
        one("unsupported", created_at=None),
        form="mime",
    )
