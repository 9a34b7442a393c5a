"""Redaction of what is secret or personal: known secrets, and what type, name or form give away."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus

from pydantic import SecretBytes, SecretStr

from humwatch_service.config.secrets import MIN_SECRET_CHARACTERS, SECRET_KEY, SECRET_NAME

REDACTED: Final = "(redacted)"

_PATTERNS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"\b([a-z][a-z0-9+.-]{1,20}://)[^\s/?#\"'<>]{1,512}@", rf"\1{REDACTED}@"),
        (r"((?:proxy-)?authorization[\"']?\s*[:=]\s*[\"']?)(?:[a-z]+ +)?[^\s\"',;]+", rf"\1{REDACTED}"),
        (r"\b(bearer|basic) +[a-z0-9._~+/=-]{8,}", rf"\1 {REDACTED}"),
        (r"((?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)[^\s\"',]+", rf"\1{REDACTED}"),
        (rf"(\b[\w-]{{0,64}}{SECRET_NAME}[\"']?\s*[:=]\s*[\"']?)(?!\(redacted\))[^\s\"'&,;]{{4,}}", rf"\1{REDACTED}"),
        (r"([?&](?:key|sig|signature|auth|code)=)[^&\s\"']+", rf"\1{REDACTED}"),
        (r"((?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)[^\s\"']+", rf"\1{REDACTED}"),
        (r"\b(?:whsec_|ghp_|glsa_|xox[a-z]-)[a-z0-9+/=_-]{8,}", REDACTED),
        (r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", REDACTED),
        (r"(?<![\w./-])(?:/home|/Users|[a-z]:\\Users)[/\\][^/\\\s\"':;,]+", "~"),
    )
)
_SUSPECT: Final = re.compile(
    r"://|[?&](?:key|sig|auth|code)|secret|token|passw|passphrase|api.?key|credential|private.?key|authoriz|bearer|basic"
    r"|cookie|whsec_|ghp_|glsa_|xox|eyJ|hooks\.slack|discord|/home/|[/\\]users[/\\]",
    re.IGNORECASE,
)
"""Is in every text that one of the patterns changes; one look for it is cheaper than all of them."""
_PRIVATE_KEY: Final = re.compile(
    # the second form: of a key that begins before the text does
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)"
    r"|\A(?:(?!-----BEGIN).)*?-----END [A-Z ]{0,30}PRIVATE KEY-----",
    re.DOTALL,
)
_PERSONAL: Final = frozenset({"who", "why", "cause", "action", "acknowledged_by", "acknowledged_why", "feedback_by"})
"""Names of values that people wrote or that name them."""


class Redactor:
    """Redaction of secrets, and of paths of people's homes, in texts and values.

    Args:
        secrets: known secrets; each is also found in base64, percent-encoded, in hex and as JSON writes it.
        home: its path becomes ``~``.
    """

    def __init__(self, secrets: Iterable[str | bytes] = (), *, home: Path | None = None) -> None:
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= MIN_SECRET_CHARACTERS}
        # The longest first: one secret may be a part of another.
        known = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(known, re.IGNORECASE) if known else None
        self._home = _home_pattern(home)

    def text(self, text: str) -> str:
        """Return the text without what is secret."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if self._home is not None:
            text = self._home.sub("~", text)
        text = without_private_keys(text)
        return "".join(map(_without_suspects, text.splitlines(keepends=True))) if _SUSPECT.search(text) else text

    def value(self, value: Any) -> Any:
        """Redact any value of JSON, also by type and by name; what JSON cannot say becomes text."""
        if isinstance(value, SecretStr | SecretBytes):
            return REDACTED
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._named(str(name), part) for name, part in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(part) for part in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.text(str(value))

    def _named(self, name: str, value: Any) -> Any:
        hidden = name in _PERSONAL or SECRET_KEY.fullmatch(name) is not None
        return REDACTED if hidden and value not in (None, "", (), []) else self.value(value)


def without_private_keys(text: str) -> str:
    """Return the text without PEM private keys, which are the only secrets of more than one line."""
    return _PRIVATE_KEY.sub(REDACTED, text) if "PRIVATE KEY-----" in text else text


def _without_suspects(line: str) -> str:
    if _SUSPECT.search(line):
        for pattern, replacement in _PATTERNS:
            line = pattern.sub(replacement, line)
    return line


def _forms(secret: str | bytes) -> Iterator[str]:
    if len(secret) < MIN_SECRET_CHARACTERS:
        return
    data = secret if isinstance(secret, bytes) else secret.encode("utf-8", "surrogateescape")
    if isinstance(secret, str):
        yield from (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield from (quote(data, safe=""), quote(data), quote_plus(data), data.hex())
    for offset, skipped in ((0, 0), (1, 2), (2, 3)):  # of three bytes, where a longer text that holds it may begin
        whole = (offset + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(offset) + data).decode()[skipped:whole]


def _home_pattern(home: Path | None) -> re.Pattern[str] | None:
    if home is None or len(home.parts) < 2:
        return None
    spelt = {str(home), str(home.resolve())}
    return re.compile(r"(?<![\w.-])(?:" + "|".join(re.escape(text) for text in spelt) + r")(?![\w.-])")
