"""Signatures by the Standard Webhooks specification, version 1.0.0 (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac

from humwatch_service.webhooks.outbox import Notification


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
