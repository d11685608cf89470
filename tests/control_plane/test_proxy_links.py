"""Links of proxied servers lead back through the proxy."""

import pytest

from kybern.apiserver.subresources.proxy_links import lead_back, led_back
from kybern.component.http.messages import Response

PREFIX = "/api/v1/namespaces/n/services/web/proxy"
HOSTS = ("10.0.0.1:80", "api.example.com")


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("/a/b?q=1#f", f"{PREFIX}/a/b?q=1#f"),
        ("/", f"{PREFIX}/"),
        ("/dir/", f"{PREFIX}/dir/"),
        ("http://10.0.0.1:80/a", f"{PREFIX}/a"),
        (f"{PREFIX}/a", f"{PREFIX}/a"),
        ("a/b", "a/b"),
        ("http://elsewhere/a", "http://elsewhere/a"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_only_links_to_the_server_itself_are_led_back(link: str, wanted: str) -> None:
    assert led_back(link, PREFIX, HOSTS) == wanted


def test_a_page_keeps_all_but_its_links() -> None:
    page = (
        '<A class="x" HREF=\'/a&amp;b\'>a</A><img alt=/x src=/i.png><p href="/x">'
        '<!-- <a href="/c"> -->'
        '<script src="/s.js">"<a href=\'/t\'>"</script><a href="b">\xe9</a><a'
    )
    answer = lead_back(_html(page), PREFIX, HOSTS)
    assert isinstance(answer.body, bytes)
    assert answer.body.decode("latin-1") == (
        f'<A class="x" HREF="{PREFIX}/a&amp;b">a</A><img alt=/x src="{PREFIX}/i.png"><p href="/x">'
        f'<!-- <a href="/c"> --><script src="{PREFIX}/s.js">"<a href=\'/t\'>"</script>'
        '<a href="b">\xe9</a><a'
    )


def test_what_is_no_page_stays_as_it_is() -> None:
    for headers in (
        {"Content-Type": "text/plain"},
        {"content-type": "text/html", "content-encoding": "br"},
    ):
        answer = lead_back(Response(200, headers, b'<a href="/a">'), PREFIX, HOSTS)
        assert answer.body == b'<a href="/a">'


def test_redirects_are_led_back() -> None:
    answer = lead_back(Response(302, {"location": "/login"}), PREFIX, HOSTS)
    assert answer.headers["location"] == f"{PREFIX}/login"


def _html(page: str) -> Response:
    return Response(200, {"content-type": "text/html; charset=x"}, page.encode("latin-1"))
