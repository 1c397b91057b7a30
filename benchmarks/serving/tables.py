"""What docs/serving.md and README.md say of the results of ``python -m benchmarks.serving``."""

from __future__ import annotations

from typing import Any

from benchmarks.results import seconds, times
from benchmarks.serving.soak import RELOADS
from benchmarks.serving.speed import HALF_CORE, HALF_MOST

OURS = "fastroute"
NOT_ROUTED = "fastroute, not routed"
PEERS = {"LiteLLM": "LiteLLM's proxy", "RouteLLM": "RouteLLM's server"}
MIB = 2**20


def summary(speed: dict[str, Any]) -> str:
    """The lines of README.md."""
    rows = speed["throughput"]["64"]
    ours = rows[OURS]["requests_per_second"]
    compared = " and ".join(
        f"{times(ours / rows[name]['requests_per_second'])} {called} ({rows[name]['requests_per_second']:,.0f})"
        for name, called in PEERS.items()
    )
    added = speed["added_latency"]["router-experts"]["added_p50_seconds"]
    start = speed["start_up"]["fastroute, experts"]
    return (
        f"On one core it passes on {ours:,.0f} requests/s over 64 connections, {compared} in the same run;\nrouting "
        f"adds {seconds(added)} to a request, a stream of 20 parts takes {_stream(speed)} of CPU, and it starts in "
        f"{seconds(start['seconds'])} ([how it was measured](docs/serving.md#measured))."
    )


def measured(speed: dict[str, Any], overload: dict[str, Any], soak: dict[str, Any]) -> str:
    """The section of docs/serving.md."""
    lines = [_run(speed), "", *_servers(speed), "", *_rest(speed), "", _run(overload), ""]
    lines += [*_overload(overload), "", _run(soak), "", _soak(soak)]
    return "\n".join(lines)


def _run(read: dict[str, Any]) -> str:
    where, commit = read["machine"], read["commit"]
    before, after = where["load"]
    changed = " with changes" if commit["changed"] else ""
    return (
        f"`{read['command']}` on {read['date']} at {commit['id'][:12]}{changed}; {where['cpu']}, "
        f"{where['cores']} cores, load average {before:g} before and {after:g} after:"
    )


def _servers(speed: dict[str, Any]) -> list[str]:
    versions = speed["versions"]
    columns = {OURS: "fastroute", **{name: f"{called} {versions[name]}" for name, called in PEERS.items()}}
    lines = [f"| one core, the same scripted model | {' | '.join(columns.values())} |", "|---|---|---|---|"]
    for connections, rows in speed["throughput"].items():
        ours = rows[OURS]["requests_per_second"]
        cells = [f"{ours:,.0f}"]
        for name in PEERS:
            theirs = rows[name]["requests_per_second"]
            cells.append(f"{theirs:,.0f}: {times(ours / theirs)}")
        lines.append(f"| requests/s, {connections} connections | {' | '.join(cells)} |")
    light = speed["latency"]
    for quantile in ("p50", "p99"):
        found = [seconds(light[name][f"{quantile}_seconds"]) for name in columns]
        lines.append(f"| {quantile} at {light['requests_per_second']:.0f} requests/s | {' | '.join(found)} |")
    streams = [seconds(speed["streams"][name]["cpu_seconds_per_stream"]) for name in columns]
    lines.append(f"| CPU for a stream of 20 parts | {' | '.join(streams)} |")
    begun = [speed["start_up"][name] for name in ("fastroute, experts", *PEERS)]
    lines.append(f"| from start to the first answer | {' | '.join(seconds(each['seconds']) for each in begun)} |")
    lines.append(f"| memory then | {' | '.join(_memory(each) for each in begun)} |")
    return lines


def _rest(speed: dict[str, Any]) -> list[str]:
    bare, first = speed["start_up"]["fastroute, no router"], speed["first_event"]
    plain = [f"{rows[NOT_ROUTED]['requests_per_second']:,.0f}" for rows in speed["throughput"].values()]
    lines = [
        f"- Not routed, to a model by its name, fastroute passes on {' and '.join(plain)} requests/s.",
        f"- Without a router it starts in {seconds(bare['seconds'])} with {_memory(bare)}.",
    ]
    for name, found in speed["added_latency"].items():
        lines.append(
            f"- `{name}` adds {seconds(found['added_p50_seconds'])} to the median of a request "
            f"({seconds(found['not_routed_p50_seconds'])} without routing, by turns over one connection)."
        )
    for name in (HALF_CORE, HALF_MOST):
        found = first[name]
        through, direct = found["through fastroute"], found["the model itself"]
        rate, share = found["streams_per_second"], found["core_share"]
        lines.append(
            f"- At {name} ({rate:,.0f} streams/s, its core {share:.0%} busy), the first event comes after "
            f"{seconds(through['p50_seconds'])} (p50) and\n  {seconds(through['p99_seconds'])} (p99); "
            f"from the model itself after {seconds(direct['p50_seconds'])} and {seconds(direct['p99_seconds'])}."
        )
    rest, busy = speed["pauses"]["at rest"], speed["pauses"]["16 clients wait for bert"]
    lines.append(
        f"- While `bert` scores for 16 clients ({busy['requests_per_second']:.0f} requests/s), `/health` answers in "
        f"{seconds(busy['p99_seconds'])} (p99), {seconds(busy['p999_seconds'])} (p99.9), "
        f"{seconds(busy['max_seconds'])} at most, {busy['over_5_ms']} of\n  {busy['pings']:,} over 5 ms; at rest "
        f"{seconds(rest['p99_seconds'])}, {seconds(rest['p999_seconds'])}, {seconds(rest['max_seconds'])}, "
        f"{rest['over_5_ms']} of {rest['pings']:,}."
    )
    return lines


def _overload(read: dict[str, Any]) -> list[str]:
    lines = ["| five times too much | peak/s | due/s | sent/s | answered/s | of the peak | refused, p50 and p99 |"]
    lines.append("|---|---|---|---|---|---|---|")
    for name, found in read.items():
        if "share_of_peak" not in found:
            continue
        refused = "none"
        if found["refused_p50_seconds"] is not None:
            refused = f"{seconds(found['refused_p50_seconds'])}, {seconds(found['refused_p99_seconds'])}"
        rates = (found[f"{each}_per_second"] for each in ("peak", "due", "sent", "answered"))
        cells = [*(f"{rate:,.0f}" for rate in rates), f"{found['share_of_peak']:.0%}", refused]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    slow = read["slow clients"]
    lines += [
        "",
        f"Beside {slow['slow_clients']} clients that send a byte a second, p99 of a healthy one is "
        f"{seconds(slow['beside them']['p99_seconds'])}; alone {seconds(slow['alone']['p99_seconds'])}: "
        f"{slow['p99_ratio']:.2f} times.",
    ]
    return lines


def _soak(read: dict[str, Any]) -> str:
    return (
        f"{read['seconds']:,.0f} s, {sum(read['requests'].values()):,} requests ({', '.join(read['requests'])}), "
        f"clients that hang up, {RELOADS} reloads, an open playground:\nthe least memory of each tenth of the time, in "
        f"MiB: {', '.join(f'{each:.1f}' for each in read['least_mib'])} ({read['most_mib']:.1f} at most, as a\nreload "
        f"holds two configurations); after the first fifth it grows by {read['growth_mib_by_slope']:.2f} MiB by the "
        f"slope. {read['in_flight_at_the_end']:.0f} requests are left over."
    )


def _stream(speed: dict[str, Any]) -> str:
    return seconds(speed["streams"][OURS]["cpu_seconds_per_stream"])


def _memory(found: dict[str, float]) -> str:
    return f"{found['resident_bytes'] / MIB:.0f} MiB"
