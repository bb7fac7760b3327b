"""A README as HTML that can do no harm: Markdown without HTML of its own, sanitised all the same.

Nothing is loaded from anywhere: an image becomes a link to it. Links leave without telling where from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import nh3
from markdown_it import MarkdownIt

from ....stores.browsing import MOST_README

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.renderer import RendererProtocol
    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

_TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}, "th": {"class"}, "td": {"class"}}
_NESTING = 30


def render(text: str) -> str:
    """The HTML of a README in Markdown, up to MOST_README characters: what attacks takes a second or two.

    The page itself has the heading of the first level.
    """
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": _NESTING})
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image)
    tokens = parser.parse(text[:MOST_README])
    _set_levels([token for token in tokens if token.type in ("heading_open", "heading_close")])
    made = parser.renderer.render(tokens, parser.options, {})
    return nh3.clean(
        made, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https", "mailto"},
        set_tag_attribute_values={"pre": {"tabindex": "0"}}, link_rel="noopener noreferrer nofollow",
    )  # fmt: skip


def _set_levels(headings: Sequence[Token]) -> None:
    """The highest become the second level, and none is left out on the way down. Each opens and closes."""
    highest = min((int(token.tag[1:]) for token in headings), default=1)
    level = 1
    for opening, closing in zip(headings[::2], headings[1::2], strict=True):
        level = min(int(opening.tag[1:]) - highest + 2, level + 1, 6)
        opening.tag = closing.tag = f"h{level}"


def _image(
    self: RendererProtocol, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """A link in the place of an image."""
    from html import escape

    token = tokens[index]
    source, words = str(token.attrs.get("src", "")), token.content or "image"
    return f'<a href="{escape(source, quote=True)}">{escape(words)}</a>'
