"""What a page that is stored or exported holds of an instrument."""

import base64
import gzip
import json
import re


def content_of(page: str) -> dict:
    """Script, style sheet and state of the one instrument in a piece of HTML."""
    (content,) = re.findall(r'atob\("([A-Za-z0-9+/=]+)"\)', page)
    return json.loads(gzip.decompress(base64.b64decode(content)))
