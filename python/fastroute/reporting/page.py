"""The report as one page of HTML that asks for nothing: no scripts, no fonts, no address of anything."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fastroute.reporting import charts
from fastroute.reporting.words import (
    amount,
    drift_words,
    left_out_words,
    money,
    more_groups,
    percent,
    printable,
    psi_interval,
    scored_by_words,
    short_threshold,
    target_words,
    value_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastroute.reporting.results import Group, Report

__all__ = ["html_page"]

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --card: #f5f7f9; --ink: #1b2733; --soft: #5b6875; --line: #d5dbe1;
  --grid: #e6eaee; --main: #2563a8; --fill: #7fa9d6; --other: #b4530a; --mark: #8a3ffc; }
@media (prefers-color-scheme: dark) { :root { --page: #12181f; --card: #1b232c; --ink: #e4eaf0; --soft: #9aa7b4;
  --line: #37434f; --grid: #28323c; --main: #7db3ec; --fill: #3f6f9f; --other: #f0a35e; --mark: #c3a1ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 18px; margin: 38px 0 4px; }
p { margin: 6px 0 12px; color: var(--soft); } p.lead { color: var(--ink); }
.file { overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); gap: 12px; margin: 20px 0 6px; }
.card { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.card b { display: block; font-size: 22px; font-weight: 600; line-height: 1.3; overflow-wrap: anywhere; }
.card span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 10px 0; font-size: 14px; font-variant-numeric: tabular-nums; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); padding: 5px 8px; }
td { text-align: right; border-bottom: 1px solid var(--grid); padding: 5px 8px; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
svg { display: block; width: 100%; height: auto; margin: 8px 0; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .note { fill: var(--mark); font-weight: 600; paint-order: stroke;
  stroke: var(--page); stroke-width: 4px; stroke-linejoin: round; } svg .name { fill: var(--ink); }
.axis { stroke: var(--soft); } .grid { stroke: var(--grid); }
.curve { fill: none; stroke: var(--main); stroke-width: 2.2; stroke-linejoin: round; }
.bar { fill: var(--fill); } .whisker { stroke: var(--ink); stroke-width: 1.3; opacity: .75; }
.other { fill: none; stroke: var(--other); stroke-width: 1.8; }
.mark { stroke: var(--mark); stroke-width: 1.3; stroke-dasharray: 4 3; } .dot { fill: var(--mark); }
.key { display: inline-block; width: 14px; height: 10px; margin: 0 5px 0 14px; vertical-align: -1px; }
.key.log { background: var(--fill); margin-left: 0; } .key.cal { height: 0; border-top: 2px solid var(--other);
  vertical-align: 4px; }
footer { margin-top: 44px; border-top: 1px solid var(--line); padding-top: 10px; font-size: 13px; color: var(--soft); }
"""


def html_page(report: Report) -> str:
    """Return the whole page; names and values of the log are escaped, and nothing is loaded from anywhere."""
    body = "".join((_head(report), _thresholds(report), _scores(report), _groups(report), _notes(report)))
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    title = escape(f"What-if report: {printable(report.source)}")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def _head(report: Report) -> str:
    cut = report.cut
    target = next(target for target in report.targets if target.cut is not None)
    cards = [
        (f"{report.rows:,}", "scored rows" if report.rows != 1 else "scored row"),
        (short_threshold(cut.threshold), f"threshold: {target_words(target)}"),
        (percent(cut.share), f"to the strong model [{percent(cut.low)}, {percent(cut.high)}]"),
        (money(cut.dollars), f"cost of the log; {money(report.strong_dollars)} with the strong model alone"),
        (money(cut.saved), f"saved, {percent(cut.saved_share)}"),
    ]
    if report.calibration is not None:
        drift = report.calibration.drift
        cards.append((f"{drift.psi:.3g}", f"PSI against the calibration set; drift: {drift.verdict}"))
    shown = "".join(
        f'<div class="card"><b>{escape(figure)}</b><span>{escape(what)}</span></div>' for figure, what in cards
    )
    parts = [printable(report.source), amount(report.files, "file") if report.files > 1 else ""]
    parts += [f"column {printable(report.score_column)}" if report.score_column != "score" else ""]
    parts += [left_out_words(report.skipped, report.lost), scored_by_words(report.scored_by, report.files)]
    return (
        f"<h1>What-if report</h1><p class='file'>{escape('; '.join(filter(None, parts)))}</p>"
        f'<div class="cards">{shown}</div>'
    )


def _thresholds(report: Report) -> str:
    prices = report.prices
    rows = []
    for target in report.targets:
        name = target_words(target)
        if target.cut is None:
            rows.append([f"{name}: none, {target.reason}", "", "", "", "", ""])
            continue
        cut = target.cut
        interval = f"[{percent(cut.low)}, {percent(cut.high)}]"
        saved = f"{money(cut.saved)} ({percent(cut.saved_share)})"
        rows.append([name, repr(cut.threshold), percent(cut.share), interval, money(cut.dollars), saved])
    curve = [
        [
            short_threshold(cut.threshold),
            percent(cut.share),
            f"{cut.strong_rows:,}",
            money(cut.dollars),
            money(cut.saved),
        ]
        for cut in report.tenths()
    ]
    routed = ""
    if report.routed is not None:
        pair = report.routed
        routed = f" The log went to {printable(pair.strong)} and {printable(pair.weak)}."
    lead = (
        f"At {money(prices.strong)} per 1,000 answers of the strong model and {money(prices.weak)} of the weak one, "
        f"the log costs {money(report.strong_dollars)} or {money(report.weak_dollars)} with one alone.{routed}"
    )
    titles = ["", "threshold", "to strong", "95% interval", "cost", "saved"]
    return (
        f'<h2>What a threshold does</h2><p class="lead">{escape(lead)}</p>{charts.threshold_chart(report)}'
        f"{_table(titles, rows)}"
        f"{_table(['threshold, rounded', 'to strong', 'strong rows', 'cost', 'saved'], curve)}"
    )


def _scores(report: Report) -> str:
    spread = f"From {report.least:.6g} to {report.most:.6g}, mean {report.mean:.6g}."
    key = '<p><span class="key log"></span>this log'
    table = ""
    if report.calibration is not None:
        calibration = report.calibration
        drift = calibration.drift
        psi, ks = drift_words(drift)
        made = scored_by_words(calibration.scored_by, calibration.files)
        source = f"{printable(calibration.source)}{f', {made}' if made else ''}"
        key += f'<span class="key cal"></span>calibration set: {escape(source)}'
        rows = [
            ["calibration rows", f"{calibration.rows:,}"],
            ["mean score, calibration and log", f"{calibration.mean:.6g}, {report.mean:.6g}"],
            [f"PSI in {amount(drift.bins, 'bin')} [95% interval]", psi],
            ["PSI up to which there is no sign of drift", f"{drift.psi_chance:.4f}"],
            ["KS [95% interval], p-value of no drift", ks],
            ["drift", drift.verdict],
        ]
        table = _table(["", ""], rows)
    return f"<h2>Scores</h2><p class='lead'>{spread}</p>{key}</p>{charts.scores_chart(report)}{table}"


def _groups(report: Report) -> str:
    grouping = report.grouping
    if grouping is None:
        return ""
    what = f"By {'day of ' if grouping.by_day else ''}{printable(grouping.column)}"
    titles = ["day" if grouping.by_day else "value", "rows", "mean score", "to strong [95%]", "cost", "saved"]
    drifts = report.calibration is not None
    if drifts:
        titles += ["PSI [95%]", "KS", "drift"]
    rows = [_group_row(group, value_words(group.value), drifts=drifts) for group in grouping.groups]
    if grouping.rest is not None:
        rows.append(_group_row(grouping.rest, more_groups(report), drifts=drifts))
    shares = f"<p>Share to the strong model at threshold {report.cut.threshold!r}; lines are 95% intervals.</p>"
    drift = f"<p>PSI against the calibration set.</p>{charts.drift_chart(report)}" if drifts else ""
    return (
        f"<h2>{escape(what)}</h2>{shares}{charts.shares_chart(report)}{drift}"
        f"{_table(titles, rows)}{_overlooked(report)}"
    )


def _group_row(group: Group, name: str, *, drifts: bool) -> list[str]:
    cut = group.cut
    row = [
        name,
        f"{group.rows:,}",
        f"{group.mean:.4f}",
        f"{percent(cut.share)} [{percent(cut.low)}, {percent(cut.high)}]",
        money(cut.dollars),
        money(cut.saved),
    ]
    if drifts and group.drift is not None:
        drift = group.drift
        row += [f"{drift.psi:.3f} {psi_interval(drift, '[{:.3f}, {:.3f}]')}", f"{drift.ks:.3f}", drift.verdict]
    return row


def _overlooked(report: Report) -> str:
    if report.grouping is None or not report.grouping.overlooked:
        return ""
    return (
        "<p>There are more values than are counted at once: one that is not listed may have up to "
        f"{amount(report.grouping.overlooked, 'row')} more than the smallest that is.</p>"
    )


def _notes(report: Report) -> str:
    notes = [
        "Counts at a threshold are exact, and so are the dollars for the prices given.",
        "Intervals of shares (Wilson) are for future prompts like these; rows count as independent draws.",
    ]
    if report.calibration is not None:
        notes += [
            "PSI compares tenths of the calibration scores; its interval resamples both sides and takes off the "
            "upward bias of samples. Below 0.1 is called small, to 0.25 moderate.",
            "The interval of KS (Dvoretzky, Kiefer, Wolfowitz) holds at any size and is wide.",
        ]
    return f"<footer>{'<br>'.join(escape(note) for note in notes)}</footer>"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    shown = f"<thead><tr>{head}</tr></thead>" if any(titles) else ""
    return f'<div class="scroll"><table>{shown}<tbody>{lines}</tbody></table></div>'
