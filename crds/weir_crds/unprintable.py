"""Characters that must not reach a terminal as they are; whoever can may have sent them. Pure."""

import re

_UNPRINTABLE = re.compile(
    "["
    "\0-\x1f\x7f-\x9f"  # end a line, or do something else to the terminal
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # turn the direction of writing
    "\u2028\u2029"  # end a line, too
    "\ud800-\udfff"  # halves of characters
    "]"
)


def escape_unprintable(text: str, *, keep: str = "") -> str:
    r"""Return a text with those as Python writes them (``\x1b``, ``\u202e``), but ``keep``."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def drop_unprintable(text: str) -> str:
    """Return a text without those."""
    return _UNPRINTABLE.sub("", text)


def escape_in_json(text: str) -> str:
    r"""Return JSON that means the same, with those in its strings as ``\u202e``.

    Args:
        text: JSON on one line, where they stand nowhere else.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
