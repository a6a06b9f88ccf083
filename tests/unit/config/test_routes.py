"""The proxy that an account's requests go through, and the files that its TLS is made of."""

from pathlib import Path

import pytest

import config
from config.proxy import ProxyServer, named_for
from config.route import Route
from tests.support.certificates import Authority
from tests.unit.config.environment import GOOD, faults

PROXY = "OTPREPORT_ACCOUNTS__TENCENT__PROXY"
BUSY = {"HTTPS_PROXY": "http://proxy:3128"}


def route(**more: str) -> Route:
    """Return the route of the account."""
    return config.load({**GOOD, **more}).accounts["tencent"].route


@pytest.mark.parametrize(
    ("text", "host", "port", "encrypted"),
    [
        ("http://proxy:3128", "proxy", 3128, False),
        ("proxy:3128", "proxy", 3128, False),
        ("http://proxy/", "proxy", 80, False),
        ("https://proxy", "proxy", 443, True),
        ("http://[::1]:8", "::1", 8, False),
    ],
)
def test_a_proxy(text: str, host: str, port: int, encrypted: bool) -> None:
    """Its forms are those of curl."""
    assert ProxyServer.parse(text) == ProxyServer(host, port, encrypted)
    assert route(**{PROXY: text}).proxy == ProxyServer(host, port, encrypted)


def test_a_proxys_password_does_not_show() -> None:
    """It is decoded, and neither printed nor in `check`'s line."""
    proxy = route(**{PROXY: "http://me:hunter%402@proxy:1"}).proxy
    assert proxy == ProxyServer("proxy", 1, user="me", password="hunter@2")
    assert str(proxy) == "http://proxy:1"
    assert "hunter" not in f"{proxy!r} {Route(proxy)} {Route(proxy)!r}"


@pytest.mark.parametrize(
    ("credentials", "user", "password"),
    [
        ("me:p:w", "me", "p:w"),
        ("me:p@w", "me", "p@w"),
        ("m%40e:p%3A%23", "m@e", "p:#"),
        ("mé:pä", "mé", "pä"),
        ("me:p%C3%A4%", "me", "pä%"),
        ("me:%E4", "me", "\udce4"),
        ("me", "me", ""),
    ],
)
def test_odd_passwords(credentials: str, user: str, password: str) -> None:
    """They are read as curl reads them; one that is no UTF-8 keeps its bytes."""
    assert ProxyServer.parse(f"http://{credentials}@proxy:1") == ProxyServer(
        "proxy", 1, user=user, password=password
    )


@pytest.mark.parametrize(
    "text",
    [
        "socks5://proxy:1",
        "http://",
        "http://proxy/path",
        "http://a b",
        "http://proxy:x",
        "http://::1:3128",
        "http://me:p#w@proxy:1",
        "http://pröxy:1",
        "http://me:p\tw@proxy:1",
        "http://proxy:0",
        "http://a,b:1",
        "http://pro%78y:1",
        "off",
        "direct",
    ],
)
def test_what_is_no_proxy(text: str) -> None:
    """It is named, wherever it was set; an account that goes directly does not mind the environment's."""
    problem = "is a SOCKS proxy, which can't be used" if "socks" in text else "is not an HTTP proxy"
    fix = (
        "write http://host:port or https://host:port, an IPv6 address in brackets, "
        "with user:password@ before the host if needed (special characters as %XX), or none"
    )
    assert faults({**GOOD, PROXY: text}) == [f"accounts.tencent.proxy {problem} (from {PROXY}): {fix}"]
    assert faults({**GOOD, "ALL_PROXY": text}) == [
        f"ALL_PROXY {problem}, and accounts.tencent would use it: {fix}: there, or in the account's proxy"
    ]
    assert route(ALL_PROXY=text, **{PROXY: "none"}) == Route()


@pytest.mark.parametrize("host", ["[fe80::1%25eth0]:3128", "[fe80::1%eth0]", "me:p@[fe80::1%25eth0]:3128/"])
def test_an_address_with_a_scope_is_refused_by_name(host: str) -> None:
    """The event loop connects nowhere with one: better at the start than at each request."""
    (fault,) = faults({**GOOD, PROXY: f"http://{host}"})
    assert "proxy is an IPv6 address with a scope (%), which can't be used (from " in fault
    (fault,) = faults({**GOOD, PROXY: "http://[fe80::1]:x/%"})
    assert "is not an HTTP proxy" in fault


def test_whose_proxy_is_used() -> None:
    """The account's own before the environment's, its lower case before its upper case, and none for who only looks."""
    assert route(**BUSY).proxy == ProxyServer("proxy", 3128)
    assert route(**BUSY, https_proxy="http://lower:1").proxy == ProxyServer("lower", 1)
    assert route(ALL_PROXY="http://all:1").proxy == ProxyServer("all", 1)
    assert route(HTTP_PROXY="http://plain:1").proxy is None
    assert route(**BUSY, **{PROXY: "http://own:1"}).proxy == ProxyServer("own", 1)
    assert route(**BUSY, **{PROXY: "none"}).proxy is None
    assert route(**BUSY, **{PROXY: "None"}).proxy is None
    assert config.load({**GOOD, **BUSY}, keyless=True).accounts["tencent"].route == Route()


@pytest.mark.parametrize(
    ("excepted", "endpoint", "direct"),
    [
        ("", "https://sms.example.com", False),
        ("*", "https://sms.example.com", True),
        ("example.com", "https://sms.example.com", True),
        (".example.com", "https://sms.example.com", True),
        ("*.example.com", "https://sms.example.com", True),
        ("other.org, EXAMPLE.com", "https://sms.example.com", True),
        ("ample.com", "https://sms.example.com", False),
        ("sms.example.com:443", "https://sms.example.com", True),
        ("sms.example.com:0443", "https://sms.example.com", True),
        ("sms.example.com:8443", "https://sms.example.com", False),
        (f"sms.example.com:{'9' * 5000}", "https://sms.example.com", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("[fd00::1]:443", "https://[fd00::1]", True),
        ("fd00::/8", "https://[fd00::1]", True),
        (",, ,", "https://sms.example.com", False),
        ("other.org example.com", "https://sms.example.com", True),
        ("other.org;example.com", "https://sms.example.com", True),
        ("example.com.", "https://sms.example.com", True),
        ("example.com", "https://sms.example.com.", True),
        ("10.1.*", "https://10.1.2.3", True),
        ("10.1.*", "https://10.2.2.3", False),
        ("sms.*:443", "https://sms.example.com", True),
        ("example.com:\u00b2", "https://sms.example.com", False),
        ("10.0.0.0/33", "https://10.1.2.3", False),
        ("", "https://127.0.0.1:8443", True),
        ("", "https://[::1]", True),
        ("", "https://localhost", True),
        ("", "http://simulator:9900", True),
    ],
)
def test_what_goes_directly(excepted: str, endpoint: str, direct: bool) -> None:
    """NO_PROXY as curl, Go and Python read it; never this machine, nor a container beside it."""
    found = named_for(endpoint, {**BUSY, "NO_PROXY": excepted})
    assert found == (None if direct else ("HTTPS_PROXY", "http://proxy:3128"))


@pytest.mark.parametrize("value", ["", " ", '""', "none", "NONE", '"none"', "\r"])
def test_an_environment_that_names_no_proxy(value: str) -> None:
    """Nothing, in whatever quotes, is as good as none; the next variable counts then, but not after `none`."""
    assert route(HTTPS_PROXY=value).proxy is None
    named = route(HTTPS_PROXY=value, ALL_PROXY="http://all:1").proxy
    assert named == (None if "none" in value.lower() else ProxyServer("all", 1))


@pytest.mark.parametrize("around", ["{}\r", ' "{}" ', "'{}'"])
def test_what_comes_along_with_the_environments_proxy(around: str) -> None:
    """It is left out, as with our own settings."""
    excepted = around.format("other.org,sms.example.com")
    busy = {"HTTPS_PROXY": around.format("http://proxy:1")}
    assert route(**busy).proxy == ProxyServer("proxy", 1)
    assert route(**{f"export {name}": value for name, value in busy.items()}).proxy == ProxyServer("proxy", 1)
    assert named_for("https://sms.example.com", {**busy, "NO_PROXY": excepted}) is None


def test_httpx_has_no_proxy() -> None:
    """It says so at the start, with whose proxy it is."""
    engine = {**GOOD, "OTPREPORT_HTTP_ENGINE": "httpx"}
    (own,) = faults({**engine, PROXY: "proxy:1"})
    (named,) = faults({**engine, **BUSY})
    assert own.startswith("accounts.tencent.proxy is http://proxy:1, and http_engine httpx can't use one")
    assert named.startswith(
        "accounts.tencent.proxy is http://proxy:3128 by HTTPS_PROXY, and http_engine httpx"
    )


def test_a_machine_without_authorities(tmp_path: Path) -> None:
    """It is named at the start, where each connection would say that the provider's certificate is not known."""
    (tmp_path / "empty").mkdir()
    nowhere = {"SSL_CERT_FILE": "/nowhere/ca.pem", "SSL_CERT_DIR": f"/nowhere:{tmp_path / 'empty'}"}
    (found,) = faults({**GOOD, **nowhere})
    assert found.startswith(
        "accounts.tencent.ca_bundle is not set, and there are no certificate authorities in"
    )
    assert "as SSL_CERT_FILE and SSL_CERT_DIR say" in found
    file = Authority(tmp_path).file
    for well in ({"SSL_CERT_FILE": str(file)}, {"SSL_CERT_DIR": f"/nowhere:{tmp_path}"}):
        config.load({**GOOD, **nowhere, **well})
    where = "OTPREPORT_ACCOUNTS__TENCENT__"
    for own in ({f"{where}CA_BUNDLE": str(file)}, {f"{where}ENDPOINT": "http://localhost:1"}):
        config.load({**GOOD, **nowhere, **own})
    config.load({**GOOD, **nowhere}, keyless=True)


def test_files_that_can_not_be_used(tmp_path: Path) -> None:
    """Each is named, with the reason; commands that only look on don't need them."""
    mine, other = Authority(tmp_path, "mine").file, Authority(tmp_path, "other").file
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("-----BEGIN CERTIFICATE-----\nxx\n")
    away, where = tmp_path / "away.pem", "OTPREPORT_ACCOUNTS__TENCENT__"
    empty, certificate, key, chain = (tmp_path / name for name in ("empty", "certificate", "key", "chain"))
    empty.touch()
    start, mark, rest = mine.read_text().partition("-----BEGIN PRIVATE")
    certificate.write_text(start)
    key.write_text(mark + rest)
    chain.write_text(other.read_text().partition(mark)[0] + start)
    no_certificate, no_key = "it holds no certificate", "it holds no private key"
    not_its_key = "its private key is not that of the first"
    for files, culprit, why in (
        ({"CA_BUNDLE": away}, "CA_BUNDLE", "No such file or directory"),
        ({"CA_BUNDLE": tmp_path}, "CA_BUNDLE", "Is a directory"),
        ({"CA_BUNDLE": rubbish}, "CA_BUNDLE", ""),
        ({"CA_BUNDLE": empty}, "CA_BUNDLE", no_certificate),
        ({"CLIENT_CERT": rubbish}, "CLIENT_CERT", ""),
        ({"CLIENT_CERT": empty}, "CLIENT_CERT", no_certificate),
        ({"CLIENT_CERT": certificate}, "CLIENT_CERT", no_key),
        ({"CLIENT_CERT": key, "CLIENT_KEY": certificate}, "CLIENT_CERT", no_certificate),
        ({"CLIENT_CERT": mine, "CLIENT_KEY": away}, "CLIENT_KEY", "No such"),
        ({"CLIENT_CERT": mine, "CLIENT_KEY": empty}, "CLIENT_KEY", no_key),
        ({"CLIENT_CERT": mine, "CLIENT_KEY": other}, "CLIENT_KEY", not_its_key),
        ({"CLIENT_CERT": chain, "CLIENT_KEY": key}, "CLIENT_KEY", not_its_key),
    ):
        variables = {f"{where}{name}": str(file) for name, file in files.items()}
        (found,) = faults({**GOOD, **variables})
        assert found.startswith(f"accounts.tencent.{culprit.lower()} can't be used: {files[culprit]}: {why}")
        config.load({**GOOD, **variables}, keyless=True)
    (found,) = faults({**GOOD, f"{where}CLIENT_KEY": str(mine)})
    assert found.startswith(f"accounts.tencent.client_cert is missing: set {where}CLIENT_CERT")
    good = {f"{where}CA_BUNDLE": str(mine), f"{where}CLIENT_CERT": str(mine)}
    assert route(**good).client_cert == str(mine)


def test_files_of_other_systems(tmp_path: Path) -> None:
    """Line ends and byte order marks of Windows don't matter to a certificate."""
    authority = Authority(tmp_path)
    file = tmp_path / "odd.pem"
    file.write_bytes(b"\xef\xbb\xbf" + authority.file.read_bytes().replace(b"\n", b"\r\n"))
    Route(ca_bundle=str(file), client_cert=str(file)).context()


@pytest.mark.parametrize("text", ["1.2.3", "10.0.0.1:80", "localhost", "[::1]", "10.0.0.1/32", "eth0"])
def test_what_is_no_source_address(text: str) -> None:
    """It is named before the first connection fails."""
    name = "OTPREPORT_ACCOUNTS__TENCENT__SOURCE_ADDRESS"
    (found,) = faults({**GOOD, name: text})
    assert found.startswith(f"accounts.tencent.source_address is not an IP address (from {name}): write one")


def test_a_key_in_place_of_its_file_is_not_shown(tmp_path: Path) -> None:
    """`..._KEY_FILE` reads the file, as for every setting; the fault says what to do and not what was read."""
    key = Authority(tmp_path).file
    where = "OTPREPORT_ACCOUNTS__TENCENT__"
    (found,) = faults({**GOOD, f"{where}CLIENT_CERT": str(key), f"{where}CLIENT_KEY_FILE": str(key)})
    assert found.startswith("accounts.tencent.client_key is the content of a file (from ")
    assert "BEGIN" not in found


def test_an_encrypted_key_is_not_asked_for(tmp_path: Path) -> None:
    """OpenSSL would ask for its password at the terminal, and a service has none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority = Authority(tmp_path)
    key = tmp_path / "key.pem"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    where = "OTPREPORT_ACCOUNTS__TENCENT__"
    (found,) = faults({**GOOD, f"{where}CLIENT_CERT": str(authority.file), f"{where}CLIENT_KEY": str(key)})
    assert found == f"accounts.tencent.client_key can't be used: {key}: its private key is encrypted"
