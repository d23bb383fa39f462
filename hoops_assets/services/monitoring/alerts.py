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
    """Records an alarm's state and tells people if it turned, or if its last turn could not be told until now.

    A wrong or refusing address takes nothing down with it: `hoops doctor` names the first, and the turn is sent again at
    every look until all addresses have taken it.

    Args:
        urls: default those of the environment.

    Returns:
        None if the alarm did not turn; else "recorded", "told" or "not told" (an address is wrong, or refused).
    """
    turned = alarms.turn(record, alarm)
    urls = addresses() if urls is None else urls
    if not urls:
        return "recorded" if turned else None
    edge = alarms.current(record, alarm.league).get(alarm.alarm)
    if edge is None:
        return None
    if turned:
        alarms.due(record, edge)
    elif not alarms.is_due(record, edge):
        return None
    if is_told := _tell(edge, urls):
        alarms.told(record, edge)
    return ("told" if is_told else "not told") if turned else None


def _tell(edge: Alarm, urls: Sequence[str]) -> bool:
    title = f"{edge.league}: {edge.alarm} is {'an alarm' if edge.state == 'red' else 'quiet again'}"
    try:
        return Alerts(urls).send(title, edge.text, edge.state == "red")
    except SettingsError:
        return False
