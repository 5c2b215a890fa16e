"""A page of what was measured: a plot for each case, and a table."""

from __future__ import annotations

import html as escaping
import math
import statistics
from pathlib import Path
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } tr { border-bottom: 1px solid #ddd }
svg text { font: 12px system-ui, sans-serif } .ring { font-weight: 600 }
"""
LEFT, WIDTH, ROW = 170, 520, 24


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def plot(case: dict[str, Any]) -> str:
    """The median of each as a dot and the spread as a line, on a logarithmic scale."""
    rows = sorted(case["figures"].items(), key=lambda it: statistics.median(it[1]))
    if not rows:
        return "<p>nothing was measured</p>"
    every = [figure for _, figures in rows for figure in figures]
    low, high = math.log10(min(every)) - 0.05, math.log10(max(every)) + 0.05

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - low) / (high - low) * WIDTH

    parts = []
    height = ROW * len(rows) + 24
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            value = digit * 10**power
            if low <= math.log10(value) <= high:
                at = x(value)
                parts.append(
                    f'<line x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - 20}" stroke="#eee"/>'
                    f'<text x="{at:.1f}" y="{height - 6}" text-anchor="middle" fill="#777">'
                    f"{value:,g}</text>"
                )
    for place, (name, figures) in enumerate(rows):
        y = ROW * place + ROW / 2
        colour = "#c33" if name.startswith("ring") else "#357"
        median = statistics.median(figures)
        parts.append(
            f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{escaping.escape(name)}</text>'
            f'<line x1="{x(min(figures)):.1f}" x2="{x(max(figures)):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{x(median):.1f}" cy="{y}" r="5" fill="{colour}"/>'
            f'<text x="{x(max(figures)) + 10:.1f}" y="{y + 4}">{median:,.0f}</text>'
        )
    width = LEFT + WIDTH + 90
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">{"".join(parts)}</svg>'


def table(case: dict[str, Any]) -> str:
    rows = sorted(case["figures"].items(), key=lambda it: statistics.median(it[1]))
    ring = next(
        (it for name, it in case["figures"].items() if name in ("ring", "ring: Queue")), None
    )
    lines = []
    for name, figures in rows:
        median = statistics.median(figures)
        ratio = f"{median / statistics.median(ring):.2f}" if ring else ""
        lines.append(
            f"<tr><td>{escaping.escape(name)}</td><td>{median:,.0f}</td>"
            f"<td>{min(figures):,.0f} to {max(figures):,.0f}</td><td>{ratio}</td></tr>"
        )
    head = f"<tr><th></th><th>{case['unit']}</th><th>least to most</th><th>times the ring</th></tr>"
    return f"<table>{head}{''.join(lines)}</table>"


def html(result: dict[str, Any]) -> str:
    parts = [
        f"<!doctype html><meta charset=utf-8><title>Messages between Python processes</title>"
        f"<style>{STYLE}</style><h1>Messages between Python processes</h1>"
        f"<p>Python {result['python']}, {escaping.escape(result['processor'])}, "
        f"{len(result['cores'])} cores; medians of {result['rounds']} interleaved rounds, "
        f"processes pinned. An empty loop takes {result['empty_loop_ns']:.0f} ns. "
        "Dots are medians, lines reach from the least to the most; the scale is logarithmic.</p>"
    ]
    if result["missing"]:
        names = ", ".join(map(escaping.escape, result["missing"]))
        parts.append(f"<p>Not installed, and not compared: {names}.</p>")
    parts.append("<h2>Conditions</h2><table>")
    for it in result["conditions"]:
        value = "not measured" if it["is"] is None else f"{it['is']:.4g}"
        word = "met" if it["met"] else "not met"
        parts.append(
            f"<tr><td>{escaping.escape(it['what'])}</td><td>{value}</td>"
            f"<td>at most {it['at most']:.4g}</td><td>{word}</td></tr>"
        )
    parts.append("</table>")
    for case in result["cases"]:
        parts.append(f"<h2>{escaping.escape(case['title'])}</h2>{plot(case)}{table(case)}")
    if result["idle"]:
        parts.append("<h2>Idle</h2><table>")
        for name, share in result["idle"].items():
            parts.append(f"<tr><td>{escaping.escape(name)}</td><td>{share:.3%} of a core</td></tr>")
        parts.append("</table>")
    return "".join(parts) + "\n"
