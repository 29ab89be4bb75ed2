"""What servers and hooks get of the gateway's environment."""

import pytest

from mcproxy.config.environment import child_environment, passed, proxy_secrets, withheld

OWN = {
    "PATH": "/bin",
    "TZ": "UTC",
    "SSL_CERT_FILE": "/ca.pem",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "HTTP_PROXY": "http://proxy.corp:3128",
    "https_proxy": "http://ada:p%40ss@proxy.corp:3128",
    "ALL_PROXY": "ada:secret@proxy.corp",
    "no_proxy": "localhost",
    "AWS_SECRET_ACCESS_KEY": "canary",
}


@pytest.mark.requirement("upstream.proxies")
def test_certificates_and_proxies_are_passed_but_no_credentials() -> None:
    assert passed(OWN) == {
        name: OWN[name]
        for name in (
            *("PATH", "TZ", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "no_proxy"),
        )
    }
    assert set(withheld(OWN)) == {"https_proxy", "ALL_PROXY"}


@pytest.mark.requirement("upstream.proxies")
def test_env_names_what_a_server_needs() -> None:
    given = child_environment(OWN, {"https_proxy": OWN["https_proxy"]}, isolated=True)
    assert given["https_proxy"] == OWN["https_proxy"]
    assert "ALL_PROXY" not in given
    assert child_environment(OWN, {}, isolated=False) == OWN


@pytest.mark.requirement("upstream.proxies")
def test_the_credentials_of_proxies_are_known_as_secrets() -> None:
    assert proxy_secrets(OWN) == {
        "ada:p%40ss",
        "p%40ss",
        "ada:p@ss",
        "p@ss",
        "ada:secret",
        "secret",
    }
