"""Numbers and values as people read them, on a terminal and in a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastroute.reporting.drift import Drift
    from fastroute.reporting.results import Report, ScoredBy, Target

__all__ = [
    "amount",
    "drift_words",
    "left_out_words",
    "money",
    "percent",
    "printable",
    "scored_by_words",
    "short_threshold",
    "target_words",
    "value_words",
]

NO_VALUE = "(no value)"
EMPTY_VALUE = "(empty)"
_HASH_LETTERS = 12
_MAX_MAKERS = 3


def money(dollars: float) -> str:
    """Write dollars with as many digits as say something."""
    size = abs(dollars)
    if size >= 1000:
        return f"${dollars:,.0f}"
    if size >= 1 or size == 0:
        return f"${dollars:,.2f}"
    if size >= 0.1:
        return f"${dollars:.3f}".removesuffix("0")
    return f"${dollars:.3g}" if size >= 1e-4 else f"${dollars:.2e}"


def percent(share: float) -> str:
    """Write a share of 1 in percent; 0% and 100% only where it is that."""
    text = f"{share:.1%}"
    if text == "0.0%" and share > 0:
        return "<0.1%"
    if text == "100.0%" and share < 1:
        return ">99.9%"
    return text


def amount(count: int, noun: str) -> str:
    """Write a count and its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def short_threshold(threshold: float) -> str:
    """Write a threshold for a table; only its full digits cut exactly where the table says."""
    return f"{threshold:.6g}"


def target_words(target: Target) -> str:
    """Say what a target asks for."""
    asked = target.asked or 0.0
    return {
        "threshold": "as given",
        "budget": f"budget of {money(asked)}",
        "strong_fraction": f"{asked * 100:.6g}% to the strong model",
        "logged": "as the log was routed",
        "half": "half to the strong model",
    }[target.kind]


def drift_words(drift: Drift) -> tuple[str, str]:
    """Write PSI and KS with their intervals."""
    psi = f"{drift.psi:.4f} (too few rows for an interval)"
    if drift.psi_low is not None and drift.psi_high is not None:
        psi = f"{drift.psi:.4f} [{drift.psi_low:.4f}, {drift.psi_high:.4f}]"
    p = "p < 0.0001" if drift.ks_p < 1e-4 else f"p = {drift.ks_p:.2g}"
    return psi, f"{drift.ks:.4f} [{drift.ks_low:.4f}, {drift.ks_high:.4f}], {p}"


def left_out_words(skipped: int, lost: int) -> str:
    """Say how many rows and files were left out; empty where none was."""
    parts = [amount(skipped, "row")] if skipped else []
    parts += [f"{amount(lost, 'file')} in whole or in part"] if lost else []
    return f"{' and '.join(parts)} left out" if parts else ""


def scored_by_words(made: tuple[ScoredBy, ...], files: int) -> str:
    """Say which artifacts and versions made the scores of so many files; empty where no manifest says."""
    if not made:
        return ""
    parts = []
    for each in made[:_MAX_MAKERS]:
        artifact = printable(each.artifact[:_HASH_LETTERS]) or "(never saved)"
        of = f" ({amount(each.files, 'file')})" if each.files != files else ""
        parts.append(f"{printable(each.kind)} {artifact} of fastroute {printable(each.fastroute)}{of}")
    if len(made) > _MAX_MAKERS:
        parts.append(f"{len(made) - _MAX_MAKERS} more")
    unknown = files - sum(each.files for each in made)
    if unknown:
        parts.append(f"unknown ({amount(unknown, 'file')})")
    return f"scored by {', '.join(parts)}"


def psi_interval(drift: Drift, form: str) -> str:
    """Write the interval of PSI into a table, or that there is none."""
    if drift.psi_low is None or drift.psi_high is None:
        return "-"
    return form.format(drift.psi_low, drift.psi_high)


def value_words(value: str | None) -> str:
    """Write a group's value, with nothing in it that could drive a terminal or mislead a reader."""
    if value is None:
        return NO_VALUE
    return printable(value) or EMPTY_VALUE


def printable(text: str) -> str:
    """Escape control characters, those that turn the direction of text among them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def more_groups(report: Report) -> str:
    """Say what the row of all other groups is called."""
    grouping = report.grouping
    assert grouping is not None
    if grouping.values is None:
        return "all other values"
    return amount(grouping.values - len(grouping.groups), f"other {'day' if grouping.by_day else 'value'}")
