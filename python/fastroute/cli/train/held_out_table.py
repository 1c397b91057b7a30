"""Figures on held-out prompts as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["held_out_table"]

_LEFT = 2  # columns of text
_NAMED = 3  # tasks that were left out


def held_out_table(metrics: Mapping[str, Any]) -> str:
    """Lay the figures that an experts router's artifact has out as a table."""
    lines = [("task", "domain", "prompts", "weak", "strong", "APGR, held out")]
    for task in (*metrics["tasks"], *metrics["gold"]):
        domain = task["domain"] if "acts_on" not in task else f"gold, acts on {task['acts_on']:.0%}"
        numbers = f"{task['prompts']:,}", f"{task['weak']:.3f}", f"{task['strong']:.3f}"
        lines.append((printable(task["task"]), printable(domain), *numbers, _apgr(task)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if column < _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    mean = metrics["held_out_apgr"]
    table.append(
        f"mean APGR of the tasks {'-' if mean is None else f'{mean:.3f}'} (random: 0.5); "
        f"the domain is recognised for {metrics['domain_accuracy']:.0%} of held-out prompts"
    )
    left_out = metrics["tasks_left_out"]
    if left_out:
        more = f" and {len(left_out) - _NAMED:,} more (--json lists them)" if len(left_out) > _NAMED else ""
        table.append(f"tasks left out: {printable(', '.join(left_out[:_NAMED]))}{more}")
    return "\n".join(table)


def _apgr(task: Mapping[str, Any]) -> str:
    if task["apgr"] is None:
        return "- (nothing can be gained)"
    if task["apgr_low"] is None:
        return f"{task['apgr']:.3f} [too few]"
    return f"{task['apgr']:.3f} [{task['apgr_low']:.3f}, {task['apgr_high']:.3f}]"
