"""Telling people of an alarm, once when it turns red and once when it turns green.

What belongs here: the fan-out. Addresses are Apprise URLs (https://github.com/caronc/apprise: chat, mail, webhook, ...),
one or several separated by spaces or commas in the environment variable ALERT_URLS, since most hold a secret. Without it
nobody is told and the record still knows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hoops_assets.errors import SettingsError
from hoops_assets.store import alarms
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.record import Record

VARIABLE = "ALERT_URLS"


def addresses() -> list[str]:
    """Where alerts go; empty when they are off."""
    return [url for url in re.split(r"[\s,]+", os.environ.get(VARIABLE, "")) if url]


class Alerts:
    """The fan-out to a number of addresses.

    Raises:
        SettingsError: an address is none that Apprise knows; the message does not repeat it, it may hold a secret.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        import apprise

        self._apprise = apprise.Apprise(asset=apprise.AppriseAsset(app_id="hoops_assets", app_desc="hoops_assets"))
        for number, url in enumerate(urls, start=1):
            if not self._apprise.add(url):
                raise SettingsError(f"{VARIABLE}: address {number} of {len(urls)} is not an Apprise URL; correct it")

    def send(self, title: str, text: str, red: bool) -> bool:
        """Sends to every address; True if all took it."""
        import apprise

        kind = apprise.NotifyType.FAILURE if red else apprise.NotifyType.SUCCESS
        return bool(self._apprise.notify(title=title, body=text, notify_type=kind))


def raise_alarm(record: Record, alarm: Alarm, urls: Sequence[str] | None = None) -> str | None:
    """Records an alarm's state and, if it turned, tells people.

    Args:
        urls: default those of the environment.

    Returns:
        None if the alarm did not turn; else "recorded", "told" or "not told" (an address refused; the record knows).
    """
    if not alarms.turn(record, alarm):
        return None
    urls = addresses() if urls is None else urls
    if not urls:
        return "recorded"
    title = f"{alarm.league}: {alarm.alarm} is {'an alarm' if alarm.state == 'red' else 'quiet again'}"
    return "told" if Alerts(urls).send(title, alarm.text, alarm.state == "red") else "not told"
