"""XML of returned files, parsed safely."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from mgral.annotation.exchange import Source
from mgral.core.errors import MgralError


def parsed(source: Source) -> Element:
    """The top element of a source. Raises MgralError if it is half-written, none, or attacks its reader."""
    try:
        top: Element = fromstring(source.content or b"")
    except DefusedXmlException as error:
        raise MgralError(
            f"{source.place}: XML that declares entities or calls other files ({type(error).__name__}); remove them"
        ) from None
    except (ParseError, LookupError, ValueError) as error:
        raise MgralError(f"{source.place}: not whole, valid XML ({error}); export it again") from None
    return top
