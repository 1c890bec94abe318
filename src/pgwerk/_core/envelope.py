"""What any serializer gives, as `jsonb` text, and back without ambiguity.

JSON text is stored as it is, so that people can read and query it. Bytes are stored as
`{"$pgwerk:bytes": "<base64>"}`. JSON text that could be mistaken for such an envelope is put into
one of its own, `{"$pgwerk:json": …}`.
"""

from __future__ import annotations

import base64
import re

from pgwerk._core.errors import SerializationError

LARGEST = 250_000_000
"""Characters that one value may have when it is packed: PostgreSQL's `jsonb` holds 256 MB at most."""

# Byte for byte what `jsonb` prints for an object with this one key.
_BYTES = '{"$pgwerk:bytes": "'
_JSON = '{"$pgwerk:json": '
_BYTES_END = '"}'
_JSON_END = "}"

# A letter of the mark that is written as an escape hides it from a plain search. Nobody escapes
# these; a text that does is put into an envelope without a closer look, which is never wrong.
_MARK = '"$pgwerk:'
_ESCAPED_MARK = re.compile(r"\\u00(?:24|3a|65|67|6b|70|72|77)", re.IGNORECASE)


def pack(data: str | bytes) -> str:
    """The text that goes into a `jsonb` column.

    Args:
        data: Bytes, or valid JSON text. That it is valid is for the server to check.

    Raises:
        SerializationError: It is neither `str` nor `bytes`.
    """
    if isinstance(data, str):
        return f"{_JSON}{data}{_JSON_END}" if _looks_packed(data) else data
    if isinstance(data, bytes):
        return f"{_BYTES}{base64.b64encode(data).decode('ascii')}{_BYTES_END}"
    raise SerializationError(f"a serializer must give str or bytes, not {type(data).__name__}")


def pack_limited(data: str | bytes, what: str) -> str:
    """As `pack`, and nothing that `jsonb` could not hold.

    Args:
        data: As for `pack`.
        what: What it is, for the error: "the result of send_mail()".

    Raises:
        SerializationError: It is neither `str` nor `bytes`, or it is too large.
    """
    packed = pack(data)
    if len(packed) > LARGEST:
        size = f"{len(packed):,} characters as JSON, of {LARGEST:,} allowed"
        raise SerializationError(f"{what}: too large to be stored: {size}")
    return packed


def unpack(text: str) -> str | bytes:
    """The bytes or the JSON text that `pack` was given; the text as `jsonb` prints it.

    Args:
        text: The column cast to `text`.

    Raises:
        SerializationError: It is an envelope whose content was damaged.
    """
    if text.startswith(_BYTES):
        try:
            return base64.b64decode(text[len(_BYTES) : -len(_BYTES_END)], validate=True)
        except ValueError as error:
            raise SerializationError(f"cannot read stored bytes: {error}") from error
    if text.startswith(_JSON):
        return text[len(_JSON) : -len(_JSON_END)]
    return text


def _looks_packed(text: str) -> bool:
    """Whether the outermost value may be an object with a key of ours; true rather too often."""
    if _MARK not in text and ("\\u00" not in text or not _ESCAPED_MARK.search(text)):
        return False
    return text.lstrip(" \t\n\r")[:1] == "{"
