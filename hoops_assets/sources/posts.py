"""What makes a fan post acceptable, whatever it stands in, and how a stream of them becomes typed frames.

What belongs here: the rules that connectors of posts share. What a file's fields are called is in the connectors.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pandas as pd

from hoops_assets.basketball.games import season_of
from hoops_assets.basketball.league import League
from hoops_assets.basketball.sentiment import POSTS
from hoops_assets.sources.contract import PostsRead, Rejected
from hoops_assets.sources.rows import spellings
from hoops_assets.sources.text import nearest

WITHOUT_TEXT = frozenset({"[deleted]", "[removed]"})
"""What Reddit leaves in place of a text that its author deleted or a moderator removed."""

BATCH = 10_000
"""Posts in one frame of a stream."""

_EPOCH_SECONDS = 8e9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class RawPost:
    """A post as found. `created_at` and `text` may be anything; `id` and `author` are "" where not given."""

    file: str
    line: int | None
    id: str
    created_at: object
    team: str
    author: str
    text: object
    row: str


@dataclass(frozen=True)
class Rules:
    """How raw posts are understood.

    Attributes:
        source: the posts' `source`.
        team_of: franchise of a spelling at a moment, None if it is none.
        team_field: the field that names the team, for people.
        known: spellings to suggest.
        skip_unknown: whether a post of no team is counted and left out rather than refused.
        zone: of times without an offset; None refuses them.
    """

    source: str
    team_of: Callable[[str, datetime], str | None]
    team_field: str
    known: Sequence[str]
    skip_unknown: bool = False
    zone: ZoneInfo | None = None


def team_resolver(league: League, declared: Mapping[str, str]) -> Callable[[str, datetime], str | None]:
    """Franchise of a subreddit, hashtag or name at a moment: as declared, else by the league's own spellings."""
    folded = {name.casefold(): team for name, team in declared.items()}
    known: dict[tuple[str, int], str | None] = {}

    def team_of(spelling: str, moment: datetime) -> str | None:
        season = season_of(moment.astimezone(league.zone).date(), league.season_starts)
        key = (spelling, season)
        if key not in known:
            known[key] = league.team(folded.get(spelling.casefold(), spelling), season)
        return known[key]

    return team_of


def unknown_teams(league: League, declared: Mapping[str, str]) -> list[str]:
    """Declared teams that the league does not have."""
    return sorted({team for team in declared.values() if team not in league.teams})


def rules_for(
    league: League, source: str, team_field: str, declared: Mapping[str, str], **more: bool | ZoneInfo | None
) -> Rules:
    known = [*declared, *spellings(league)]
    return Rules(source, team_resolver(league, declared), team_field, known, **more)  # type: ignore[arg-type]


def moment_of(value: object, zone: ZoneInfo | None) -> datetime | None:
    """A moment written as seconds or milliseconds since 1970, or in ISO 8601; None if it is neither."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return _iso(text, zone)
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    seconds = value if abs(value) < 1e11 else value / 1000
    if abs(seconds) >= _EPOCH_SECONDS:
        return None
    return _EPOCH + timedelta(microseconds=round(seconds * 1e6))


def _iso(text: str, zone: ZoneInfo | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone).astimezone(UTC) if zone is not None else None
    return moment.astimezone(UTC)


def stream(
    raw: Iterable[RawPost | Rejected], rules: Rules, start: datetime, end: datetime, batch: int = BATCH
) -> Iterator[PostsRead]:
    """Posts with start <= created_at < end in frames of at most `batch`, in the order found, each id and team once.

    Memory is bounded by the batch and by one number per post in the window. Posts whose text was deleted are left out
    and counted in the notes of the last frame.
    """
    taken: list[tuple[object, ...]] = []
    rejected: list[Rejected] = []
    seen: set[int] = set()
    left_out: Counter[str] = Counter()
    for found in raw:
        if isinstance(found, Rejected):
            rejected.append(found)
            continue
        moment = moment_of(found.created_at, rules.zone)
        if moment is None:
            rejected.append(_refused(found, "created_at", f"{found.created_at!r} is not a moment{_hint(rules)}"))
            continue
        if not start <= moment < end:
            continue
        if not isinstance(found.text, str):
            rejected.append(_refused(found, "text", f"{found.text!r} is not a text"))
            continue
        if found.text.strip() in WITHOUT_TEXT:
            left_out["were deleted or removed"] += 1
            continue
        team = rules.team_of(found.team, moment)
        if team is None and rules.skip_unknown:
            left_out["are of no team of the league"] += 1
            continue
        if team is None:
            said = f"{found.team!r} is not a team of the league{nearest(found.team, rules.known)}"
            rejected.append(_refused(found, rules.team_field, f"{said}; declare it, or add it to the team's aliases"))
            continue
        post_id = f"{rules.source}.{found.id}" if found.id else digest_id(rules.source, moment, team, found)
        key = hash((post_id, team))
        if key in seen:
            left_out["stand in another place as well"] += 1
            continue
        seen.add(key)
        taken.append((post_id, moment, team, found.author, found.text, rules.source))
        if len(taken) >= batch:
            yield PostsRead(as_posts(taken), rejected)
            taken, rejected = [], []
    notes = [f"{rules.source}: {count} posts {what}: left out" for what, count in sorted(left_out.items())]
    yield PostsRead(as_posts(taken), rejected, notes)


def gather(parts: Iterable[PostsRead]) -> PostsRead:
    """One reading from the parts of a stream, sorted by (created_at, post_id)."""
    read = list(parts)
    filled = [part.posts for part in read if len(part.posts)]
    posts = pd.concat(filled, ignore_index=True) if filled else as_posts([])
    return PostsRead(
        posts.sort_values(["created_at", "post_id"], kind="stable", ignore_index=True),
        [row for part in read for row in part.rejected],
        [note for part in read for note in part.notes],
    )


def as_posts(rows: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """A frame with the columns and types of POSTS from tuples in their order."""
    frame = pd.DataFrame(list(rows), columns=list(POSTS), dtype=object)
    return frame.assign(created_at=pd.to_datetime(frame["created_at"], utc=True).astype("datetime64[us, UTC]"))


def digest_id(source: str, moment: datetime, team: str, post: RawPost) -> str:
    """An id for a post without one: the same moment, team, author and text always give the same."""
    said = "\x1f".join((moment.isoformat(), team, post.author, str(post.text)))
    return f"{source}.{hashlib.sha256(said.encode()).hexdigest()[:20]}"


def _refused(post: RawPost, field: str, reason: str) -> Rejected:
    return Rejected(post.file, post.line, field, reason, post.row[:500])


def _hint(rules: Rules) -> str:
    return " (seconds since 1970, or ISO 8601" + (")" if rules.zone else " with an offset, or declare time_zone)")
