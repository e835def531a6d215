"""Equal links become equal bytes. In doubt a parameter is kept: a wrong merge costs more than a missed one."""

import ipaddress
import re
from urllib.parse import quote, urlsplit

from chassis.errors import Invalid

MAX_URL_LENGTH = 8_192
MAX_PARAMETERS = 500
DEFAULT_PORTS = {"http": 80, "https": 443}
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\\\u2028\u2029]")
NOT_ASCII = re.compile(r"[^\x21-\x7e]+")
HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
# Set by ad and mail systems on the way to a page; no page reads them. "ref", "id" and the like are not here.
TRACKING = frozenset(
    {
        "fbclid",
        "gclid",
        "gclsrc",
        "dclid",
        "gbraid",
        "wbraid",
        "msclkid",
        "yclid",
        "twclid",
        "ttclid",
        "igshid",
        "igsh",
        "mc_cid",
        "mc_eid",
        "_ga",
        "_gl",
        "_hsenc",
        "_hsmi",
        "mkt_tok",
        "vero_id",
        "epik",
        "srsltid",
    }
)
TRACKING_PREFIXES = ("utm_",)


def normalise_url(field: str, url: str) -> str:
    """Lower-case scheme and host, no default port, no fragment, no tracking parameters, parameters sorted by name.

    Repeated parameters keep their order; percent-encoding is kept; "" stays "". Idempotent.
    Raises: Invalid naming `field` for anything but an absolute http(s) URL without user name.
    """
    text = url.strip(" ")
    if not text:
        return ""
    if len(text) > MAX_URL_LENGTH:
        raise Invalid(
            f"{field} has {len(text)} characters, at most {MAX_URL_LENGTH} are allowed", field=field, reason="too_large"
        )
    if UNSAFE.search(text):
        raise _fault(field, "has control characters, tabs, newlines or backslashes")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _fault(field, f"cannot be read: {error}") from error
    scheme = parts.scheme.lower()
    if scheme not in DEFAULT_PORTS:
        raise _fault(field, "must begin with http:// or https://")
    if "@" in parts.netloc:
        raise _fault(field, "must not carry a user name or password")
    host = _host(field, parts.hostname or "")
    place = host if port in (None, DEFAULT_PORTS[scheme]) else f"{host}:{port}"
    query = _query(field, parts.query)
    return f"{scheme}://{place}{_ascii(parts.path) or '/'}" + (f"?{query}" if query else "")


def _host(field: str, host: str) -> str:
    if ":" in host:
        try:
            return f"[{ipaddress.IPv6Address(host).compressed}]"
        except ValueError as error:
            raise _fault(field, "has a bad IPv6 address") from error
    try:
        name = host.removesuffix(".").encode("idna").decode().lower()
    except UnicodeError as error:
        raise _fault(field, "has a bad host name") from error
    if not HOST.fullmatch(name):
        raise _fault(field, "has a bad host name")
    return name


def _query(field: str, query: str) -> str:
    parameters = [part for part in query.split("&") if part]
    if len(parameters) > MAX_PARAMETERS:
        raise Invalid(
            f"{field} has {len(parameters)} parameters, at most {MAX_PARAMETERS} are allowed",
            field=field,
            reason="too_large",
        )
    kept = [_ascii(part) for part in parameters if not _is_tracking(part.partition("=")[0])]
    return "&".join(sorted(kept, key=lambda part: part.partition("=")[0]))


def _is_tracking(name: str) -> bool:
    lowered = name.lower()
    return lowered in TRACKING or lowered.startswith(TRACKING_PREFIXES)


def _ascii(text: str) -> str:
    """Percent-encode what is not printable ASCII, and nothing else."""
    return NOT_ASCII.sub(lambda found: quote(found.group(), safe="", errors="replace"), text)


def _fault(field: str, what: str) -> Invalid:
    return Invalid(f"{field} {what}", field=field, reason="invalid_field")
