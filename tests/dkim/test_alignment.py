"""Whose domain speaks for whose."""

import pytest

from topology.alignment import Alignment, aligned, alignment, domain_name


@pytest.mark.parametrize(
    ("signer", "author", "expected"),
    [
        ("example.org", "example.org", "strict"),
        ("EXAMPLE.org.", "example.ORG", "strict"),
        ("bücher.example", "xn--bcher-kva.example", "strict"),
        ("example.org", "mail.example.org", "relaxed"),
        ("mail.example.org", "example.org", "relaxed"),
        ("example.co.uk", "mail.example.co.uk", "relaxed"),
        ("a.example.org", "b.example.org", "none"),  # siblings: see the module
        ("example.org", "example.com", "none"),
        ("badexample.org", "example.org", "none"),
        ("example.org", "badexample.org", "none"),
        ("org", "example.org", "none"),
        ("example.org", "org", "none"),
        ("co.uk", "example.co.uk", "none"),
        ("example.com.au", "com.au", "none"),
        ("mine.duckdns.org", "duckdns.org", "none"),
        ("mine.uk.com", "uk.com", "none"),
        ("mine.co.uk", "mine.co.uk", "strict"),
        ("", "", "none"),
        ("example..org", "example..org", "none"),
        ("[192.0.2.1]", "[192.0.2.1]", "none"),
    ],
)
def test_alignment_of(signer: str, author: str, expected: Alignment) -> None:
    assert alignment(signer, author) == expected
    assert aligned(signer, author, "relaxed") == (expected != "none")
    assert aligned(signer, author, "strict") == (expected == "strict")


def test_a_name_of_hostile_length_is_no_domain_name() -> None:
    assert domain_name("é" * 100_000) is None
    assert domain_name("a." * 127 + "org") is None
