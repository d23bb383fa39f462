"""The errors a user meets. Every message says what was wrong, where, and what to do."""

from __future__ import annotations


class HoopsError(Exception):
    """Base of every error that is shown to a user without a traceback.

    Attributes:
        transient: whether the same may succeed when it is tried again, with nothing changed.
    """

    transient = False


class SettingsError(HoopsError):
    """A setting or a league file is wrong; the message names the file, the field and the remedy."""


class SourceError(HoopsError):
    """A source as a whole cannot be read (missing file, wrong columns, empty file)."""


class SourceUnreachable(SourceError):  # noqa: N818
    """A source gave no good answer for now."""

    transient = True


class StoreError(HoopsError):
    """A table cannot be read or written as asked; what stood before still stands."""


class ModelError(HoopsError):
    """A model cannot be trained, registered or used."""


class LeakAlarm(HoopsError):  # noqa: N818
    """A result too good to be true: the forecast has seen the future, or the benchmark is broken."""
