"""The report as one HTML file that needs nothing else: the page's own style and script, and the data as JSON.

Names in a program may be anything. In the JSON no ``<`` is left that could end the element it stands in, the script
writes texts as text only, and the page's own policy forbids it to load anything.
"""

from __future__ import annotations

import html
import json
from importlib import resources
from typing import Any

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def render(data: dict[str, Any]) -> str:
    """The page that shows ``data`` (`data.page_data`)."""
    files = resources.files("passes.report") / "page"
    parts = {
        "TITLE": html.escape(f"{data['title']} · shlo report"),
        "STYLE": (files / "report.css").read_text(encoding="utf-8"),
        "SCRIPT": "".join((files / name).read_text(encoding="utf-8") for name in ("model.js", "lists.js", "report.js")),
        "DATA": escaped(data),
    }
    # In one go, for the texts of a program may look like the places of others.
    pieces = (files / "report.html").read_text(encoding="utf-8").split("@@")
    return "".join(parts.get(piece, piece) if odd % 2 else piece for odd, piece in enumerate(pieces))


def escaped(data: Any) -> str:
    """JSON that may stand in a ``script`` element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    for character, escape in _ESCAPES.items():
        text = text.replace(character, escape)
    return text
