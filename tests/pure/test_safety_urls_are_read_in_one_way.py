"""A URL is read in one strict way or refused, and only addresses of the public internet count as public."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lollms_core.errors import InvalidRequest
from lollms_core.safety.hosts import is_ip_literal
from lollms_core.safety.urls import Reach, follow, is_global, parse_url, reach


def table(text: str) -> list[str]:
    return text.split()


PUBLIC = table("""
8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 93.184.215.14 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
140.82.114.4 168.63.129.15 168.63.129.17 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0
192.88.98.255 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0 223.255.255.255
2001:4860:4860::8888 2606:4700:4700::1111 2001:200::1 2a00:1450:4001:80b::200e 2606:4700::5efe:8.8.8.8
2003::1 3fff:1000::1
""")

THIS_MACHINE = table("127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.255 ::1 0:0:0:0:0:0:0:1")

PRIVATE = table("""
10.0.0.0 10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255 100.64.0.1 100.127.255.255
169.254.0.1 169.254.255.255 fc00::1 fd12:3456:789a::1 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff fe80::1
fe80::ffff:ffff:ffff:ffff febf::1 fe80::1%eth0
""")

NEVER = table("""
0.0.0.0 0.0.0.1 0.255.255.255 192.0.0.1 192.0.0.170 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1
192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 254.1.2.3
255.255.255.255
169.254.169.254 169.254.169.253 169.254.170.2 169.254.170.23 169.254.42.42 168.63.129.16 100.100.100.200
fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42
:: ::2 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:192.168.1.1 ::ffff:172.16.0.1 ::ffff:8.8.8.8 ::ffff:169.254.169.254
::ffff:a9fe:a9fe ::ffff:0:127.0.0.1 ::127.0.0.1 ::10.0.0.1 ::192.168.1.1 ::8.8.8.8 ::a9fe:a9fe
64:ff9b::8.8.8.8 64:ff9b::127.0.0.1 64:ff9b::192.168.1.1 64:ff9b::a9fe:a9fe 64:ff9b::100.100.100.200
64:ff9b:1::192.168.1.1 64:ff9b:1:c0a8:1:100:: 64:ff9b:1:a9fe:a9:fe00:: 64:ff9b:1::8.8.8.8
100::1 100:0:0:1::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001::5601:5601 2001:1::1 2001:2::1 2001:10::1
2001:20::1 2001:30::1 2001:db8::1 2001:db8:64::a9fe:a9fe 2002::1 2002:c0a8:101::1 2002:a00:1::1 2002:7f00:1::
2002:a9fe:a9fe:: 2002:808:808:: 2620:4f:8000::1 2606:4700::5efe:192.168.1.1 2606:4700::200:5efe:169.254.169.254
2606:4700::5efe:127.0.0.1 2606:4700::a9fe:a9fe 3ffe::1 3fff::1 4000::1 5f00::1 fec0::1 feff::1 ff02::1 ff0e::1
fe80::a9fe:a9fe fe80::5efe:10.0.0.1
""")

NO_ADDRESSES = ["", "not-an-ip", "localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5", "[::1]"]


def test_the_table_is_long_and_every_address_stands_in_it_once() -> None:
    every = PUBLIC + THIS_MACHINE + PRIVATE + NEVER
    assert len(every) == len(set(every)) > 120


@pytest.mark.parametrize("ip", PUBLIC)
def test_public_addresses(ip: str) -> None:
    assert is_global(ip)
    assert reach(ip) is Reach.GLOBAL


@pytest.mark.parametrize(
    ("ip", "expected"),
    [
        *((ip, Reach.THIS_MACHINE) for ip in THIS_MACHINE),
        *((ip, Reach.PRIVATE) for ip in PRIVATE),
        *((ip, Reach.NEVER) for ip in NEVER + NO_ADDRESSES),
    ],
)
def test_all_others_are_not(ip: str, expected: Reach) -> None:
    assert not is_global(ip)
    assert reach(ip) is expected


@given(st.ip_addresses(v=4))
def test_no_form_of_ipv6_makes_a_closed_ipv4_address_public(ip: object) -> None:
    number = int(ip)  # type: ignore[call-overload]
    forms = [f"::ffff:{ip}", f"::{ip}", f"64:ff9b::{ip}", f"64:ff9b:1::{ip}", f"::ffff:0:{ip}"]
    forms.append(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")
    inverse = number ^ 0xFFFF_FFFF
    forms.append(f"2001::{inverse >> 16:x}:{inverse & 0xFFFF:x}")
    assert not any(is_global(form) for form in forms)
    assert is_global(f"2606:4700::5efe:{ip}") in (False, is_global(str(ip)))


# ---- reading


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM/A/b", "https://example.com/A/b"),
        ("http://example.com:8080/a?b=c#d", "http://example.com:8080/a?b=c"),
        ("https://example.com:443?b", "https://example.com/?b"),
        ("http://example.com:00080/", "http://example.com/"),
        ("  https://example.com/a\n", "https://example.com/a"),
        ("http://[2606:4700::1111]:81/", "http://[2606:4700::1111]:81/"),
        ("http://[2606:4700:0:0:0:0:0:1111]/", "http://[2606:4700::1111]/"),
        ("http://8.8.8.8/a%20b%2Fc", "http://8.8.8.8/a%20b%2Fc"),
        ("https://example.com/möd/é?ü=1", "https://example.com/m%C3%B6d/%C3%A9?%C3%BC=1"),
        ("https://xn--mnchen-3ya.example/", "https://xn--mnchen-3ya.example/"),
        ("https://example.com/a@b:c//d", "https://example.com/a@b:c//d"),
    ],
)
def test_usual_urls_are_read(text: str, read: str) -> None:
    assert str(parse_url(text)) == read
    assert parse_url(read) == parse_url(text)


REFUSED = [
    "",
    "example.com",
    "//example.com/a",
    "https:/example.com",
    "https:example.com",
    "ftp://example.com/a",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "jar:http://example.com!/",
    "http://",
    "http:///a",
    "http://:80/",
    "http://?a",
    "http://user@example.com/",
    "http://user:password@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\a",
    "http:\\\\example.com",
    "http://exam ple.com/",
    "http://example.com/a b",
    "http://example.com/\x00",
    "http://example.com/a\r\nX-Header: 1",
    "http://example.com/\x7f",
    "http://example\t.com/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:99999999/",
    "http://example.com:+80/",
    "http://example.com:8a/",
    "http://example.com:/",
    "http://example.com:80:80/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://127.0.0.01/",
    "http://1.2.3.4.5/",
    "http://127.0.0.1./",
    "http://0/",
    "http://example.com./",
    "http://.example.com/",
    "http://a..b/",
    "http://-a.com/",
    "http://[::1/",
    "http://[::1]a/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[127.0.0.1]/",
    "http://[v1.a]/",
    "http://::1/",
    "http://1:2:3:4:5:6:7:8/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://local%68ost/",
    "http://①②⑦.⓪.⓪.①/",
    "http://127。0。0。1/",
    "http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "http://exаmple.com/",
    "http://münchen.example/",
    "http://example.com/\u202egnp.exe",
    "http://example.com/\ud800",
    "http://" + "a" * 64 + ".com/",
    "http://example.com/" + "a" * 9000,
    "http://example.com<script>/",
    "http://{example}/",
]


@pytest.mark.parametrize("text", REFUSED)
def test_anything_that_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="This URL cannot be used") as caught:
        parse_url(text)
    assert caught.value.message.isprintable()
    assert "password" not in caught.value.message.replace("user name or password", "")


@example("http://0.0.0.0")
@given(st.text(alphabet="htps:/\\@.#?%[]0x127ae-_\t ①ß", max_size=40).map(lambda text: "http://" + text))
def test_what_is_read_is_read_the_same_way_by_others(text: str) -> None:
    try:
        url = parse_url(text)
    except InvalidRequest:
        return
    other = urlsplit(str(url))
    assert (other.scheme, other.hostname, other.port or 80) == (url.scheme, url.host, url.port)
    assert other.username is None
    assert str(url).isascii()
    if not is_ip_literal(url.host):  # a name: not even the system's lenient reader takes it for an address
        with pytest.raises(OSError, match=r"."):
            socket.inet_aton(url.host)


@pytest.mark.parametrize(
    ("location", "leads"),
    [
        ("https://other.example/x", "https://other.example/x"),
        ("//other.example/x", "https://other.example/x"),
        ("/x?y", "https://example.com/x?y"),
        ("x", "https://example.com/a/x"),
        ("../x", "https://example.com/x"),
        ("?y", "https://example.com/a/b?y"),
    ],
)
def test_redirects_are_read_the_same_way(location: str, leads: str) -> None:
    assert str(follow(parse_url("https://example.com/a/b"), location)) == leads


@pytest.mark.parametrize("location", ["file:///etc/passwd", "//a@b/", "\\\\b\\c", "https://127.1/", "/a b", "data:,x"])
def test_a_redirect_to_anything_else_is_refused(location: str) -> None:
    with pytest.raises(InvalidRequest):
        follow(parse_url("https://example.com/a/b"), location)
