"""Renders a report as a web page of one file: verdict, findings, a figure of the loss, and what was not examined."""

from collections.abc import Iterable, Iterator
from html import escape

from hae_jax.doctor.evidence import format_value
from hae_jax.doctor.report import Finding, Report
from hae_jax.doctor.sparkline import svg_figure

STYLE = """
body { margin: 2rem auto; max-width: 46rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; color: #222; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
h2 small, header p, .idle { color: #666; font-weight: normal; }
header { border-left: .5rem solid; padding-left: 1rem; margin-bottom: 1.5rem; }
header.healthy { border-color: #009e73; } header.findings { border-color: #d55e00; }
header.unknown { border-color: #e69f00; }
header p { margin: 0; }
section { border: 1px solid #ddd; border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
td { padding: .1rem 1rem .1rem 0; vertical-align: top; overflow-wrap: anywhere; }
td:first-child { color: #666; white-space: nowrap; }
.repair { background: #e8f5f0; border-radius: .3rem; padding: .5rem .8rem; margin: .8rem 0; }
.repair p { margin: 0; }
svg { max-width: 100%; height: auto; }
"""
HEADINGS = {"healthy": "No cause found", "unknown": "No cause found, but no verdict either"}
"""Headings of reports without findings, by verdict."""


def html_page(report: Report) -> str:
    """Returns a report as a self-contained web page, with a figure of the loss if there was training."""
    causes = [finding.cause for finding in report.findings]
    heading = HEADINGS.get(report.verdict, f"{len(causes)} cause{'s' * (len(causes) > 1)} found")
    kind = "" if report.kind == "unknown" else f"{report.kind}, "
    parts = [
        f'<header class="{report.verdict}"><h1>{escape(heading)}</h1>',
        f"<p>{escape(kind)}{report.steps} steps of training, {report.seconds:.0f} s</p></header>",
        *(f"<p>Unsettled: {escape(reason)}.</p>" for reason in report.unsettled),
        *(part for finding in report.findings for part in section(finding)),
    ]
    if report.repair is not None:
        parts.append(f"<p>{sentence(str(report.repair))}</p>")
    parts.append(svg_figure(report.losses(), report.relative))
    parts += [f'<p class="idle">{sentence(note)}</p>' for note in report.notes]
    if report.not_run:
        reasons = ((name.replace("_", " "), reason) for name, reason in report.not_run.items())
        parts.append(f'<details class="idle"><summary>Not examined: {len(report.not_run)} probes</summary>')
        parts += [table(reasons), "</details>"]
    title = f"hae doctor: {', '.join(causes) or heading.lower()}"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            *parts,
            "</body>\n</html>\n",
        ]
    )


def section(finding: Finding) -> Iterator[str]:
    """Yields the section of a finding: evidence, repair, and the causes it is distinguished from."""
    yield f"<section><h2>{escape(finding.cause)} <small>{finding.confidence:.0%}</small></h2>"
    yield table((name.replace("_", " "), format_value(value)) for name, value in finding.evidence.items())
    yield f'<div class="repair"><p><b>Repair:</b> {escape(finding.repair["change"])}</p>'
    yield f"<p>Because {escape(finding.repair['why'])}.</p></div>"
    if finding.instead_of:
        others = (f"<li>Not {escape(each['cause'])}: {escape(each['because'])}.</li>" for each in finding.instead_of)
        yield f'<ul class="idle">{"".join(others)}</ul>'
    yield "</section>"


def sentence(text: str) -> str:
    """Returns a remark as an HTML sentence.

    Example:
        >>> sentence("loss < 3 of JAX")
        'Loss &lt; 3 of JAX.'
    """
    return escape(f"{text[:1].upper()}{text[1:].rstrip('.')}.")


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Returns names and values as an HTML table.

    Example:
        >>> table([("loss first", "<3")])
        '<table><tr><td>loss first</td><td>&lt;3</td></tr></table>'
    """
    cells = (f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"
