"""Signatures by the Standard Webhooks specification, version 1.0.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

from humwatch_service.webhooks.outbox import Notification

SECRET_PREFIX: Final = "whsec_"
MIN_KEY_BYTES: Final = 24
MAX_KEY_BYTES: Final = 64
MIN_SECRET_CHARACTERS: Final = 24


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: the bytes in base64 after ``whsec_``, or else the text itself in UTF-8.

    Raises:
        ValueError: it is too short, too long or no base64; the text does not repeat it.
    """
    if not secret.startswith(SECRET_PREFIX):
        if len(secret) < MIN_SECRET_CHARACTERS:
            raise ValueError(f"a secret has {MIN_SECRET_CHARACTERS} characters at least (`openssl rand -base64 32`)")
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {SECRET_PREFIX} is no base64") from None
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"what follows {SECRET_PREFIX} has to be {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes in base64")
    return key


def message_id(notification: Notification) -> str:
    """Id of a notification, the same for every attempt and after a restart.

    The outbox numbers its rows from 1, and would again in a new database; the time and the webhook make it unique.
    """
    facts = f"{notification.webhook} {notification.id} {notification.created_s!r}"
    return f"msg_{notification.id}_{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def signed_headers(key: bytes, message: str, at_s: float, body: bytes) -> dict[str, str]:
    """The three headers that a receiver verifies.

    Args:
        key: of the webhook.
        message: id of the message; holds no full stop.
        at_s: time of this attempt, seconds since 1970 (UTC); receivers refuse one that is minutes old.
        body: bytes as they are sent.
    """
    timestamp = str(int(at_s))
    digest = hmac.digest(key, f"{message}.{timestamp}.".encode() + body, "sha256")
    return {
        "webhook-id": message,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
