"""Links in what a proxied server answers: those to itself are led through the proxy.

``proxy`` gives every answer to :func:`lead_back`. As upstream does, it changes redirects and the
links of HTML pages; what is compressed goes through as it is, and so does all of a page beyond the
first megabytes.
"""

import html
import posixpath
import re
import string
from collections.abc import AsyncIterator, Callable, Collection
from urllib.parse import urlsplit, urlunsplit

from kybern.component.http.messages import Response

LONGEST_PAGE = 4 * 1024 * 1024

# Which attributes of which elements hold links, by the HTML standard.
_LINKS = {
    "a": ("href",),
    "applet": ("codebase",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "command": ("icon",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "head": ("profile",),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
_ELEMENT = re.compile(r"<([a-z][a-z0-9]*)(\s(?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)?>", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"(?P<head>\s(?P<name>[a-z]+)\s*=\s*)(?P<value>\"[^\"]*\"|'[^']*'|[^\s\"'>]+)", re.IGNORECASE
)

# Lower case that keeps every character in its place.
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Rewrite = Callable[[str], str]


def lead_back(response: Response, prefix: str, hosts: Collection[str]) -> Response:
    """The answer with its links led back; ``prefix`` is the path of the proxy itself.

    ``hosts`` are the names under which the server behind the proxy may speak of itself.
    """

    def rewrite(link: str) -> str:
        return led_back(link, prefix, hosts)

    headers = {name.lower(): name for name in response.headers}
    if "location" in headers:
        name = headers["location"]
        response.headers[name] = rewrite(response.headers[name])
        return response
    kind = response.headers.get(headers.get("content-type", ""), "")
    if kind.partition(";")[0].strip() == "text/html" and "content-encoding" not in headers:
        body = response.body
        if isinstance(body, bytes):
            response.body = _page(body, rewrite)
        else:
            response.body = _rewritten(body, rewrite)
    return response


def led_back(link: str, prefix: str, hosts: Collection[str]) -> str:
    """One link; others' links and relative ones stay as they are."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    if (parts.netloc and parts.netloc not in hosts) or not parts.path.startswith("/"):
        return link
    path = parts.path
    if not path.startswith(prefix):
        path = posixpath.normpath(prefix + path) + ("/" if path.endswith("/") else "")
    return urlunsplit(("", "", path, parts.query, parts.fragment))


async def _rewritten(body: AsyncIterator[bytes], rewrite: Rewrite) -> AsyncIterator[bytes]:
    page = bytearray()
    async for chunk in body:
        page += chunk
        if len(page) > LONGEST_PAGE:
            break
    yield _page(bytes(page), rewrite)
    async for chunk in body:
        yield chunk


def _page(page: bytes, rewrite: Rewrite) -> bytes:
    """The page, gone through once; what stands in comments, scripts and styles is text."""
    text = page.decode("utf-8", "surrogateescape")
    lower = text.translate(_LOWER)
    out: list[str] = []
    done = position = 0
    while (position := text.find("<", position)) >= 0:
        if text.startswith("<!--", position):
            position = _behind(lower, "-->", position)
            continue
        found = _ELEMENT.match(text, position)
        if found is None:
            position += 1
            continue
        tag = found[1].lower()
        if found[2] and tag in _LINKS:
            out += [text[done : found.start(2)], _linked(found[2], _LINKS[tag], rewrite)]
            done = found.end(2)
        position = found.end()
        if tag in ("script", "style"):
            position = _behind(lower, f"</{tag}", position)
    out.append(text[done:])
    return "".join(out).encode("utf-8", "surrogateescape")


def _behind(text: str, end: str, position: int) -> int:
    found = text.find(end, position)
    return len(text) if found < 0 else found + len(end)


def _linked(attributes: str, links: Collection[str], rewrite: Rewrite) -> str:
    def attribute(found: re.Match[str]) -> str:
        if found["name"].lower() not in links:
            return found[0]
        link = rewrite(html.unescape(found["value"].strip("\"'")))
        return f'{found["head"]}"{html.escape(link)}"'

    return _ATTRIBUTE.sub(attribute, attributes)
