"""Which addresses untrusted input may name: public internet addresses, never those of internal machines."""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from adloom.core.quoting import shown

LONGEST_URL = 2048

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
_LOCAL_NAMES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")
_INNER_NAMES = (".lan", ".intranet", ".corp")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\u00a0\u2028\u2029\u3000]")


class BadAddress(ValueError):
    """An address that cannot be used; ``allowed`` says what can be."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed


def check_url(url: str, schemes: tuple[str, ...], *, loopback_urls: bool) -> None:
    """Refuse an address whose text alone shows that it is not public. Raises BadAddress."""
    allowed = f"a public address that starts with {schemes[0]}://"
    if len(url) > LONGEST_URL:
        raise BadAddress(f"the address has {len(url):,} characters", f"at most {LONGEST_URL:,}")
    if _UNSAFE.search(url):
        what = "a space, a control character or a backslash"
        raise BadAddress(f"the address {_without_query(url)} contains {what}", allowed)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadAddress(f"{_without_query(url)} is not an address", allowed) from error
    if parts.scheme not in schemes:
        raise BadAddress(f"the address starts with {shown(parts.scheme)}", allowed)
    if "@" in parts.netloc:
        raise BadAddress("the address contains a user name or a password", "the address without them")
    if not host:
        raise BadAddress(f"{_without_query(url)} has no host", allowed)
    if _can_only_be_internal(host) and not (loopback_urls and is_loopback_host(host)):
        raise BadAddress(f"{shown(host)} is an internal host", allowed)


def is_internal_host(host: str) -> bool:
    """Whether a host, as written, is an internal address or a name that can only be internal.

    Covers the odd spellings that the C library would accept (``127.1``, ``2130706433``, ``0x7f.0.0.1``). A public name
    is not resolved: ``is_internal_address`` checks what it resolves to.
    """
    name = host.strip("[]").rstrip(".").lower()
    if not name or name == "localhost" or name.endswith(_LOCAL_NAMES):
        return True
    try:
        return is_internal_address(name)
    except ValueError:
        return _is_odd_ipv4(name)


def is_internal_address(text: str) -> bool:
    """Whether an IP address is anything but plain public unicast. Raises ValueError if the text is not an address.

    An IPv4 address inside an IPv6 one (mapped, compatible, 6to4, Teredo, NAT64) is judged as itself.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = _inner_ipv4(address)
        if inner:
            return any(not _is_public(each) for each in inner)
    return not _is_public(address)


def is_loopback_host(host: str) -> bool:
    """Whether a host is this machine, by address or as ``localhost``.

    A name below ``localhost`` is not: a name server decides where it leads.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _inner_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64 or address in _COMPATIBLE:
        return (IPv4Address(int(address) & 0xFFFF_FFFF),)
    return ()


def _is_odd_ipv4(name: str) -> bool:
    """An IPv4 address in a spelling that only the C library reads: nobody writes a public host like that."""
    try:
        socket.inet_aton(name)
    except (OSError, UnicodeError):
        return False
    return True


def _without_query(url: str) -> str:
    return shown(re.split(r"[?#]", url, maxsplit=1)[0].rpartition("@")[2])


def _can_only_be_internal(host: str) -> bool:
    """Whether a host's text alone shows that it is not public: an internal address or name, or an incomplete name."""
    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".").lower().rstrip(".")
    return is_internal_host(host) or host.endswith(_INNER_NAMES) or ("." not in host and ":" not in host)
