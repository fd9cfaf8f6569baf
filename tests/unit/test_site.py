"""Settings of one machine or institute: where they are found, what they mean, and what they hide."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagefactory.cli.errors import show_error
from imagefactory.cli.progress import PlainProgress
from imagefactory.cli.runs import print_json
from imagefactory.cli.values import result
from imagefactory.drive.result import Result
from imagefactory.errors import BadFiles, BadInput, BuildFailed
from imagefactory.model.report import TestReport
from imagefactory.model.settings import SiteFile
from imagefactory.system.log import Log
from imagefactory.system.redact import redact
from imagefactory.system.site import Site, load_site
from imagefactory.system.workspace import Workspace

Make = Callable[..., Workspace]


@pytest.fixture
def root(workspace: Make) -> Workspace:
    return workspace()


def write(root: Workspace, text: str) -> Site:
    (root.root / "site.yaml").write_text(text, encoding="utf-8")
    return load_site(root)


def site(**settings: Any) -> Site:
    return Site(SiteFile.model_validate(settings))


def test_without_any_settings(root: Workspace) -> None:
    found = load_site(root)
    assert (found.file, found.ca_bundle, found.python_index, dict(found.proxies)) == (None, None, None, {})
    assert found.store == Path.home() / ".local" / "share" / "imagefactory" / "store"
    assert [each.url for each in found.addresses("https://example.org/a")] == ["https://example.org/a"]


def test_the_first_file_counts(root: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The named one, then the checkout's, then the user's."""
    config = tmp_path / "config"
    places = [
        tmp_path / "named.yaml",
        root.root / "site.yaml",
        config / "imagefactory" / "site.yaml",
        Path.home() / ".config" / "imagefactory" / "site.yaml",
    ]
    for number, place in enumerate(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"store: /store-{number}\n")
    monkeypatch.setenv("IMAGEFACTORY_SITE", str(places[0]))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    found = []
    for place in places:
        loaded = load_site(root)
        found.append((loaded.file, str(loaded.store)))
        place.unlink()
        monkeypatch.delenv("IMAGEFACTORY_SITE", raising=False)
        if place.is_relative_to(config):
            monkeypatch.delenv("XDG_CONFIG_HOME")
    assert found == [(place, f"/store-{number}") for number, place in enumerate(places)]
    assert load_site(root).file is None


def test_the_pause_between_two_tries(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_site(root).settings.retry_pause == 2
    write(root, "retry_pause: 5\n")
    assert load_site(root).settings.retry_pause == 5
    monkeypatch.setenv("IMAGEFACTORY_RETRY_PAUSE", "0.1")
    assert load_site(root).settings.retry_pause == 0.1
    for bad in ("soon", "-1", "nan"):
        monkeypatch.setenv("IMAGEFACTORY_RETRY_PAUSE", bad)
        with pytest.raises(BadInput, match="IMAGEFACTORY_RETRY_PAUSE: expected"):
            load_site(root)


def test_a_named_file_must_be_there(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEFACTORY_SITE", "/nonexistent/site.yaml")
    with pytest.raises(
        BadInput, match=r"IMAGEFACTORY_SITE names /nonexistent/site\.yaml, and there is no such file"
    ):
        load_site(root)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("proxy: {http: http://p}\n", "1:1: unknown key 'proxy', did you mean 'proxies'?"),
        (
            "cloud: mine\n",
            (
                "1:1: unknown key 'cloud', known here: proxies, ca_bundle, mirrors, stand_ins, python_index, "
                "accept_licences, store, keep_replaced, publish_non_free, cloud_images, retry_pause"
            ),
        ),
        ("store: here\n", "1:8: store: must be an absolute path without '..'"),
        (
            "mirrors: {https://example.org: ftp://example.org}\n",
            (
                "1:32: mirrors.https://example.org[0]: expected an address that begins with "
                "http://, https:// or file:///, found 'ftp://example.org'"
            ),
        ),
        ("mirrors: {https://example.org: []}\n", "1:32: mirrors.https://example.org: must not be empty"),
        ("stand_ins: {https://a.org: {}}\n", "1:28: the key 'url' is missing"),
        ("retry_pause: soon\n", "1:14: retry_pause: expected a number, found 'soon'"),
        ("accept_licences: fsl\n", "1:18: accept_licences: expected a list, found 'fsl'"),
    ],
)
def test_a_bad_file_is_told_by_its_place(root: Workspace, text: str, problem: str) -> None:
    with pytest.raises(BadFiles) as caught:
        write(root, text)
    assert [str(each) for each in caught.value.problems] == [f"site.yaml:{problem}"]


def test_variables_go_before_the_file(
    root: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, other = tmp_path / "ours.pem", tmp_path / "other.pem"
    bundle.touch()
    other.touch()
    text = f"""\
store: /file
ca_bundle: {bundle}
python_index: https://file.example.org/simple
accept_licences: [one]
mirrors: {{https://a.example.org: https://file.example.org/a, https://b.example.org: https://file.example.org/b}}
proxies: {{http: "http://file.example.org:1", no: file.example.org}}
"""
    # Other programs' variables count only where our own settings say nothing.
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(other))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "https://other.example.org/simple")
    found = write(root, text)
    assert (found.store, found.ca_bundle) == (Path("/file"), bundle)
    assert found.python_index == "https://file.example.org/simple"
    assert found.proxies == {"http_proxy": "http://file.example.org:1", "no_proxy": "file.example.org"}

    for name, value in {
        "IMAGEFACTORY_STORE": "/variable",
        "IMAGEFACTORY_CA_BUNDLE": str(other),
        "IMAGEFACTORY_PYTHON_INDEX": "https://variable.example.org/simple",
        "IMAGEFACTORY_ACCEPT_LICENCES": "two three",
        "IMAGEFACTORY_MIRRORS": "https://a.example.org/=https://variable.example.org",
        "HTTP_PROXY": "http://variable.example.org:1",
        "https_proxy": "http://variable.example.org:2",
    }.items():
        monkeypatch.setenv(name, value)
    found = load_site(root)
    assert (found.store, found.ca_bundle) == (Path("/variable"), other)
    assert found.python_index == "https://variable.example.org/simple"
    assert found.settings.accept_licences == ("one", "two", "three")
    assert found.addresses("https://a.example.org/x")[0].url == "https://variable.example.org/x"
    assert found.addresses("https://b.example.org/x")[0].url == "https://file.example.org/b/x"
    assert found.proxies == {
        "http_proxy": "http://variable.example.org:1",
        "https_proxy": "http://variable.example.org:2",
        "no_proxy": "file.example.org",
    }


def test_other_programs_variables_hold_where_ours_say_nothing(
    root: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://pip.example.org/simple")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    found = load_site(root)
    assert (found.ca_bundle, found.python_index) == (tmp_path / "ca.pem", "https://pip.example.org/simple")
    assert found.store == tmp_path / "data" / "imagefactory" / "store"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://uv.example.org/simple")
    assert load_site(root).python_index == "https://uv.example.org/simple"


def test_a_ca_bundle_must_be_there(root: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput) as caught:
        write(root, "ca_bundle: /nonexistent.pem\n")
    assert caught.value.message == "there is no CA bundle /nonexistent.pem"
    assert caught.value.hint == f"mend 'ca_bundle' in {root.root / 'site.yaml'}"


@pytest.mark.parametrize("value", ["https://a.example.org", "https://a.example.org=", "="])
def test_mirrors_in_a_variable_are_pairs(
    root: Workspace, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("IMAGEFACTORY_MIRRORS", value)
    with pytest.raises(BadInput, match="IMAGEFACTORY_MIRRORS: expected pairs such as"):
        load_site(root)


MIRRORS = {
    "https://example.org": ("https://one.example.net", "https://two.example.net/x/"),
    "https://example.org/pub/": "https://pub.example.net",
    "https://example.org/pub/data": "file:///srv/data",
}


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://example.org", ["https://one.example.net", "https://two.example.net/x"]),
        ("https://example.org/a/b", ["https://one.example.net/a/b", "https://two.example.net/x/a/b"]),
        ("https://example.org/pub", ["https://pub.example.net"]),
        ("https://example.org/pub/a?b#c", ["https://pub.example.net/a?b#c"]),
        ("https://example.org/pub/data/a", ["file:///srv/data/a"]),
        # Not at the end of a part of the path:
        (
            "https://example.org/public/a",
            ["https://one.example.net/public/a", "https://two.example.net/x/public/a"],
        ),
        ("https://example.org/pub/database", ["https://pub.example.net/database"]),
        ("https://example.org.evil.example/a", ["https://example.org.evil.example/a"]),
        ("https://example.orgy/a", ["https://example.orgy/a"]),
        ("http://example.org/a", ["http://example.org/a"]),
    ],
)
def test_mirrors_go_by_the_longest_beginning_of_whole_parts(url: str, found: list[str]) -> None:
    assert [each.url for each in site(mirrors=MIRRORS).addresses(url)] == found


def test_a_stand_in_goes_before_every_mirror() -> None:
    stand_ins = {"https://example.org/pub/": {"url": "https://fake.example.net/", "sha256": "a" * 64}}
    ours = site(mirrors=MIRRORS, stand_ins=stand_ins)
    (found,) = ours.addresses("https://example.org/pub/data/a")
    assert found.url == "https://fake.example.net/data/a"
    assert found.stand_in == ours.stand_in("https://example.org/pub/x")
    assert found.stand_in is not None
    assert found.stand_in.sha256 == "a" * 64
    assert ours.stand_in("https://example.org/public") is None
    assert ours.rehearsal(["https://example.org/pub/x", "https://example.org/a"]) == [
        ["https://example.org/pub/x", "a" * 64, ""]
    ]


def test_proxies_and_certificates_are_read(root: Workspace, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    text = f'ca_bundle: {tmp_path / "ca.pem"}\nproxies: {{https: "http://p.example.org:1", no: "a,b"}}\n'
    found = write(root, text)
    assert found.proxies == {"https_proxy": "http://p.example.org:1", "no_proxy": "a,b"}
    assert found.ca_bundle == tmp_path / "ca.pem"


SECRETIVE = """\
mirrors: {https://example.org: "https://me:m%40rror-word@mirror.example.org"}
stand_ins: {https://b.example.org: {url: "https://me:stand-in-word@b.example.net"}}
python_index: https://me:index-word@index.example.org/simple
proxies: {https: "http://me:proxy-word@proxy.example.org:3128"}
"""
HIDDEN_WORDS = "reached by *** *** *** *** ***, and others by https://***@example.org"
WORDS = ("m%40rror-word", "m@rror-word", "stand-in-word", "index-word", "proxy-word")


def test_passwords_are_shown_nowhere(
    root: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "index-word" in redact("index-word")
    write(root, SECRETIVE)
    said = f"reached by {' '.join(WORDS)}, and others by https://you:other-word@example.org"
    log = Log("app", tmp_path / "build.log", PlainProgress(verbose=True))
    log.phase(said)
    log.step(said)
    log.line(said)
    log.test_done(TestReport(name="runs", kind="smoke", status="failed", reason=said))
    log.done(False, said)
    log.close()
    assert log.path.read_text().count(HIDDEN_WORDS) == 4
    assert capsys.readouterr().err.count(HIDDEN_WORDS) == 4
    show_error(BuildFailed(said, hint=said, tail=log.tail))
    shown = capsys.readouterr().err
    for text in (redact(said), log.path.read_text(), shown):
        assert HIDDEN_WORDS in text
        assert not [word for word in (*WORDS, "other-word") if word in text]


def test_passwords_in_the_last_lines_of_a_program_are_hidden(
    root: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, SECRETIVE)
    show_error(BuildFailed("it failed", tail=["cannot reach https://me:index-word@index.example.org"]))
    assert "index-word" not in capsys.readouterr().err


def test_passwords_in_results_for_a_program_are_hidden(
    root: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, SECRETIVE)
    error = BuildFailed("no https://me:index-word@index.example.org", hint="not index-word")
    print_json([result(Result("app", "failed", 1.0, error=error))])
    assert json.loads(capsys.readouterr().out)[0]["error"]["hint"] == "not ***"


def test_a_token_in_the_place_of_a_user_name_is_hidden(root: Workspace) -> None:
    write(root, "python_index: https://glpat-0123456789@index.example.org/simple\n")
    assert "glpat" not in redact("https://glpat-0123456789@index.example.org/simple/numpy/")


def test_of_overlapping_secrets_nothing_stays_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "a" * 8
    known = [secret + "b" * length for length in range(1, 9)]
    monkeypatch.setattr("imagefactory.system.redact._secrets", dict.fromkeys((secret, *known), "password"))
    assert redact(f"<{known[-1]}> <{known[0]}> <{secret}>") == "<***> <***> <***>"
