"""What every figure shares: colours, fonts, margins, heights and titles.

Backgrounds are transparent and texts take their colour from the template, so that a page's light or
dark theme can replace it; the colours set here can be read on both.
"""

import re

import plotly.graph_objects as go

FONT = "Source Sans Pro, Segoe UI, Roboto, Helvetica, Arial, sans-serif"
TEXT = "#727c8e"
GRID = "rgba(128, 140, 160, 0.22)"
OUTLINE = "rgba(128, 140, 160, 0.75)"
MISSING = "#9aa3b2"
ACCENT = "#3d7dea"
ACCENT_FADED = "rgba(61, 125, 234, 0.14)"
TRANSPARENT = "rgba(0, 0, 0, 0)"

# Cividis (Nuñez et al. 2018, doi:10.1371/journal.pone.0199239) at ten even steps.
CIVIDIS = (
    "#00224e",
    "#123570",
    "#3b496c",
    "#575d6d",
    "#707173",
    "#8a8678",
    "#a59c74",
    "#c3b369",
    "#e1cc55",
    "#fee838",
)
SCALE: list[tuple[float, str]] = [
    (step / (len(CIVIDIS) - 1), colour) for step, colour in enumerate(CIVIDIS)
]

TITLE_HEIGHT = 72
LABEL_HEIGHT = 112
PINNED = "▲"

TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": TEXT},
        "hoverlabel": {
            "bgcolor": "#1a2233",
            "bordercolor": OUTLINE,
            "font": {"family": FONT, "size": 13, "color": "#f5f7fa"},
        },
        "xaxis": {"gridcolor": GRID, "zerolinecolor": OUTLINE, "linecolor": OUTLINE},
        "yaxis": {"gridcolor": GRID, "zerolinecolor": OUTLINE, "linecolor": OUTLINE},
    }
)


_TAG = re.compile(r"<[^>]+>")


def dress(figure: go.Figure, title: str, facts: list[str], *, height: int, alt: str) -> go.Figure:
    """Give a figure its title, its line of facts, margins, height and alternative text.

    Args:
        figure: Changed in place.
        title: What is drawn.
        facts: Unit, protocol, sample count and whatever else a reader must know, joined below the
            title and broken into lines that fit 460 pixels: a window of 900 beside its sidebar.
        height: Height without the title, in pixels.
        alt: One sentence for readers who do not see the figure.
    """
    lines = _lines([fact for fact in facts if fact])
    top = TITLE_HEIGHT + 17 * max(0, len(lines) - 1)
    below = "".join(
        f"<br><span style='font-size:13px;font-weight:400'>{line}</span>" for line in lines
    )
    figure.update_layout(
        template=TEMPLATE,
        title={
            "text": f"<b>{title}</b>{below}",
            "font": {"size": 16},
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": 8, "t": 24},
        },
        margin={"l": 14, "r": 14, "t": top, "b": 8, "pad": 0},
        height=height + top,
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        showlegend=False,
        meta={"alt": alt},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    return figure


def alt_text(figure: go.Figure) -> str:
    """Return the sentence that says what a figure of this package shows."""
    return str(figure.layout.meta["alt"])


def colour_bar(title: str, ticks: list[float], texts: list[str]) -> dict[str, object]:
    """Return a colour bar whose codes ``ticks`` read as ``texts``."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": 12}},
        "tickvals": ticks,
        "ticktext": texts,
        "tickfont": {"size": 12},
        "thickness": 14,
        "len": 1,
        "outlinewidth": 1,
        "outlinecolor": OUTLINE,
        "x": 1.01,
        "xpad": 6,
    }


def _lines(facts: list[str], width: int = 72) -> list[str]:
    """Join facts by dots into lines of at most ``width`` shown characters where facts allow it."""
    lines: list[str] = []
    for fact in facts:
        if lines and _shown(lines[-1]) + _shown(fact) + 3 <= width:
            lines[-1] += f" · {fact}"
        else:
            lines.append(fact)
    return lines


def _shown(text: str) -> int:
    """Return how many characters of a text are seen: tags are not."""
    return len(_TAG.sub("", text))
