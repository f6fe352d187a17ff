"""What authentication looked at and up, in words for people."""

from typing import Any

from postroom.reading.render import Part

_KEY = 60
"""Characters of a key record that are shown."""


def authentication_parts(member: dict[str, Any]) -> list[Part]:
    """Who wrote the mail and how sure we are, as one line."""
    strength = member["strength"]
    style = {"strong": "green", "weak": "yellow"}.get(strength, "dim")
    parts: list[Part] = [(strength, style)]
    if member.get("method"):
        parts.append((f" by {member['method']}", ""))
    if member.get("sender"):
        parts.append((f", {member['sender']}", ""))
        parts.append((f" in {member['source'].capitalize()}" if member.get("source") else "", "dim"))
    if member.get("account"):
        name = f" ({member['account_name']})" if member.get("account_name") else ""
        parts.append((f", account {member['account']}{name}", ""))
    return parts


def evidence_lines(member: dict[str, Any], told_anyway: str | None = None) -> list[str]:
    """What the verdict rests on, a line each. told_anyway: words that stand elsewhere, and are not to be told again."""
    lines = []
    reason = member.get("reason")
    if reason and reason != told_anyway:
        why = "why not stronger" if member["strength"] != "strong" else "noted"
        lines.append(f"{why}: {reason}")
    told = (reason, told_anyway)
    if member.get("account_active") is False:
        lines.append("the account is not active")
    if member.get("account_requires_strong"):
        lines.append("the account demands strong proof")
    lines += [_dkim(result, told) for result in member.get("dkim") or ()]
    lines += [f"looked up {name}: {_answer(answer)}" for name, answer in (member.get("dns") or {}).items()]
    if results := member.get("results"):
        lines.append(f"Authentication-Results: {results.get('field') or results.get('reason') or 'none'}")
    lines += _openpgp(member.get("openpgp"), told)
    return lines


def _because(judged: dict[str, Any], told: tuple[str | None, ...]) -> str:
    reason = judged.get("reason")
    return f": {reason}" if reason and reason not in told else ""


def _dkim(result: dict[str, Any], told: tuple[str | None, ...]) -> str:
    why = _because(result, told)
    return f"DKIM of {result.get('domain')}, selector {result.get('selector')}: {result.get('result')}{why}"


def _answer(answer: Any) -> str:
    if answer is None:
        return "no such name"
    text = answer if isinstance(answer, str) else " | ".join(str(one) for one in answer)
    return text if len(text) <= _KEY else f"{text[:_KEY]}…"


def _openpgp(member: dict[str, Any] | None, told: tuple[str | None, ...]) -> list[str]:
    if not member:
        return []
    if member.get("judged") is False:
        return ["OpenPGP: signed, and not judged, as the sender has no account"]
    lines = []
    for signature in member.get("signatures") or ():
        key = signature.get("fingerprint") or signature.get("key") or "an unknown key"
        made = f", made {signature['created_at']}" if signature.get("created_at") else ""
        by = f", judged by {signature['engine']}" if signature.get("engine") else ""
        why = _because(signature, told)
        lines.append(f"OpenPGP ({member.get('form')}) by {key}: {signature.get('verdict')}{made}{by}{why}")
    return lines
