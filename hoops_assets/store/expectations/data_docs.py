"""Great Expectations' Data Docs as a static site that is opened from a folder, without any network.

What belongs here: building the site of one league. Great Expectations writes a page per table and suite; its pages ask
several content delivery networks for styles and scripts, which are taken out in favour of one small style sheet, and its
index is made by a script, so the index is our own.
"""

from __future__ import annotations

import html
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuite
from great_expectations.data_context import EphemeralDataContext

from hoops_assets.basketball.league import League
from hoops_assets.store.atomic import commit_folder, write_text
from hoops_assets.store.expectations.suites import SUITES, expectations_of
from hoops_assets.store.expectations.validation import (
    Finding,
    add_frames,
    expected_rows,
    findings_of,
    quiet_context,
)

KEPT_BUILDS = 2
"""The one that the index names and the one before, whose pages somebody may be looking at."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem 2rem; color: #222; }
table { border-collapse: collapse; margin: .5rem 0 1.2rem; width: 100%; table-layout: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: left; vertical-align: top; }
h1, h2, h4, h5, h6 { margin: .8rem 0 .3rem; }
a { color: #1f5fa8; }
.good, .text-success { color: #1b7f3b; } .bad, .text-danger { color: #b3261e; }
.fa-check-circle::before { content: "\\2713"; } .fa-times::before { content: "\\2717"; }
.fa-exclamation-triangle::before { content: "!"; }
.alert, .card-header { background: #f3f4f6; padding: .4rem .8rem; }
.badge { border: 1px solid #bbb; border-radius: .3rem; padding: 0 .3rem; }
.popover, .cooltip .top, .sticky, .collapse, a[data-toggle="collapse"], nav img, footer, .cta-footer { display: none; }
.ge-breadcrumbs { list-style: none; display: flex; gap: 1rem; padding: 0; }
"""

_OUTSIDE = (
    re.compile(r"<script\b.*?</script>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<link\b[^>]*>", re.IGNORECASE),
    re.compile(r"<img\b[^>]*>", re.IGNORECASE | re.DOTALL),
    re.compile(r"<style\b.*?</style>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<footer\b.*?</footer>", re.DOTALL | re.IGNORECASE),
    re.compile(r"<p>Stay current on everything GX.*?</p>", re.DOTALL),
)
"""What the pages of Great Expectations load from elsewhere, or ask of the reader."""


@dataclass(frozen=True)
class TableDocs:
    """What the Data Docs say of one table: its rows, the findings in words, and its page."""

    table: str
    rows: int
    findings: list[Finding]
    page: Path

    @property
    def failed(self) -> list[Finding]:
        return [one for one in self.findings if not one.passed]


@dataclass(frozen=True)
class DataDocs:
    """A built site."""

    index: Path
    tables: list[TableDocs]


def build_data_docs(
    folder: Path, league: League, tables: Iterable[tuple[str, pd.DataFrame, pd.Series | None]], at: datetime
) -> DataDocs:
    """Validates whole tables and writes a site about them.

    The pages of a build stand in a folder of their own; `folder/index.html` is replaced last, so that it always leads to
    whole pages.

    Args:
        tables: (name, all rows, the day of each row of its table in ROWS_OF or None); empty ones are left out.
        at: the time of the build, aware.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".build."))
    try:
        context = _context_with_site(temporary)
        found = [
            (name, len(frame), _validated(context, name, frame, league, days))
            for name, frame, days in tables
            if len(frame)
        ]
        context.build_data_docs(site_names=[_SITE])
        _tidy(temporary)
        build = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"  # never twice the same, also when `at` is pretended
        commit_folder(temporary, build)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    docs = [TableDocs(name, rows, findings, _page(build, name)) for name, rows, findings in found]
    index = folder / "index.html"
    write_text(index, _index(league, docs, build, at))
    for old in sorted(path for path in folder.iterdir() if path.is_dir())[:-KEPT_BUILDS]:
        shutil.rmtree(old, ignore_errors=True)
    return DataDocs(index, docs)


_SITE = "site"


def _context_with_site(folder: Path) -> EphemeralDataContext:
    context = quiet_context()
    context.add_data_docs_site(
        _SITE,
        {
            "class_name": "SiteBuilder",
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder", "show_cta_footer": False},
            "show_how_to_buttons": False,  # type: ignore[typeddict-unknown-key]
        },
    )
    return context


def _validated(
    context: EphemeralDataContext, table: str, frame: pd.DataFrame, league: League, days: pd.Series | None
) -> list[Finding]:
    wanted = expected_rows(table, days)
    expectations = expectations_of(table, league, None if wanted is None else wanted.total())
    suite = context.suites.add(ExpectationSuite(name=table, expectations=expectations))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=table, data=add_frames(context, table), suite=suite)
    )
    prepared = SUITES[table].prepare(frame.reset_index(drop=True), league)
    outcome = definition.run(batch_parameters={"dataframe": prepared}, result_format="COMPLETE")
    return findings_of(expectations, outcome, frame, wanted)


def _tidy(site: Path) -> None:
    """Takes out of the pages what they would load from elsewhere, and what no page then refers to."""
    shutil.rmtree(site / "static", ignore_errors=True)
    (site / "index.html").unlink(missing_ok=True)
    write_text(site / "style.css", _STYLE)
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for pattern in _OUTSIDE:
            text = pattern.sub("", text)
        up = "../" * (len(page.relative_to(site).parts) - 1)
        text = text.replace("</head>", f'<link rel="stylesheet" href="{up}style.css"></head>', 1)
        text = text.replace(f'href="{up}index.html"', f'href="{up}../index.html"')
        page.write_text(text, encoding="utf-8")


def _page(build: Path, table: str) -> Path:
    (page,) = (build / "validations" / table).rglob("*.html")
    return page


def _index(league: League, docs: list[TableDocs], build: Path, at: datetime) -> str:
    local = at.astimezone(league.zone)
    rows = "\n".join(_row(one, build) for one in docs)
    title = html.escape(f"{league.title or league.name}: what is expected of its tables")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<link rel="stylesheet" href="{build.name}/style.css"></head>
<body><h1>{title}</h1>
<p>Whole tables as of {local:%Y-%m-%d %H:%M} ({league.time_zone}). A table's name leads to its validation, "suite" to what
is expected of it.</p>
<table><thead><tr><th>table</th><th>rows</th><th>expectations</th><th>outcome</th><th></th></tr></thead>
<tbody>
{rows}
</tbody></table></body></html>
"""


def _row(docs: TableDocs, build: Path) -> str:
    page = docs.page.relative_to(build.parent).as_posix()
    failed = "<br>".join(html.escape(_told(one)) for one in docs.failed)
    outcome = f'<td class="bad">{failed}</td>' if failed else '<td class="good">all hold</td>'
    return (
        f'<tr><td><a href="{page}">{docs.table}</a></td><td>{docs.rows:,}</td><td>{len(docs.findings)}</td>{outcome}'
        f'<td><a href="{build.name}/expectations/{docs.table}.html">suite</a></td></tr>'
    )


def _told(failed: Finding) -> str:
    days = sorted({failed.days[0], failed.days[-1]}) if failed.days else []
    where = " on " + " to ".join(map(str, days)) if days else ""
    return f"{failed.name}: {f'rows {failed.unexpected}' if failed.unexpected else failed.observed}{where}"
