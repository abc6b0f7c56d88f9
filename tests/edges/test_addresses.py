import pytest

from adloom.edges.addresses import is_internal_address, is_internal_host, is_loopback_host

INTERNAL_TEXT = """127.0.0.1 127.1 127.255.255.254 0.0.0.0 0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1
169.254.169.254 100.64.0.1 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.5 224.0.0.1
239.1.1.1 240.0.0.1 255.255.255.255 2130706433 017700000001 0x7f000001 0x7f.0.0.1 0177.0.0.1 10.1
::1 :: fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1
::ffff:a9fe:a9fe ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 2002:7f00:1:: 2002:c0a8:101::
2001:0:7f00:1:0:0:5601:5601 2001:db8::1 [::1] localhost LOCALHOST localhost. a.localhost
printer.local metadata.google.internal router.home.arpa 127.0.0.1."""
PUBLIC_TEXT = """8.8.8.8 1.1.1.1 104.16.0.1 2606:4700::1111 [2606:4700::1111] ::ffff:8.8.8.8 64:ff9b::808:808
files.evolink.ai cdn.example.com. 1password.com 10.example.com localhost.example.com
xn--bcher-kva.example internal"""


@pytest.mark.parametrize("host", [*INTERNAL_TEXT.split(), ""])
def test_internal_hosts_are_told_in_every_spelling(host):
    assert is_internal_host(host)


@pytest.mark.parametrize("host", PUBLIC_TEXT.split())
def test_public_hosts_are_let_through(host):
    assert not is_internal_host(host)


def test_a_name_is_no_address():
    with pytest.raises(ValueError, match="not appear to be"):
        is_internal_address("example.com")


def test_only_this_machine_is_loopback():
    assert all(map(is_loopback_host, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(
        map(is_loopback_host, ("", "10.0.0.1", "0.0.0.0", "example.com", "localhost.example.com", "x.localhost"))
    )
