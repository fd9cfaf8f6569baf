"""Shell scripts are cut where commands end, and nowhere else."""

from __future__ import annotations

import pytest

from imagefactory.importing.commands.fetches import Clone, Fetch, clone_of, fetches
from imagefactory.importing.commands.packages import apt_of, conda_of, pip_of
from imagefactory.importing.commands.shell import Unreadable, expand, programs, statements
from imagefactory.importing.drafting.words import word, word_of_shell
from imagefactory.importing.steps import DOLLAR


@pytest.mark.parametrize(
    ("script", "texts"),
    [
        ("a b && c; d\ne", ["a b", "c", "d", "e"]),
        ("a 'x && y; z' \"p; q\"", ["a 'x && y; z' \"p; q\""]),
        ("a || b && c", ["a || b", "c"]),
        ("for f in 1 2; do a $f && b; done; c", ["for f in 1 2; do a $f && b; done", "c"]),
        ("if a; then b; else c; fi\nd", ["if a; then b; else c; fi", "d"]),
        ("case $x in a) b ;; *) c ;; esac; d", ["case $x in a) b ;; *) c ;; esac", "d"]),
        ("x=$(a; b) && c", ["x=$(a; b)", "c"]),
        ("(a; b) && c", ["(a; b)", "c"]),
        ("a || { b; exit 1; }; c", ["a || { b; exit 1; }", "c"]),
        ("find . -exec chmod +x {} \\; && b", ["find . -exec chmod +x {} \\;", "b"]),
        ("cat <<EOF >f\nx; y && z\nEOF\nb", ["cat <<EOF >f\nx; y && z\nEOF", "b"]),
        ("a \\\n  && b \\\n  && c", ["a", "b", "c"]),
        ("# a; b\nc", ["# a; b", "c"]),
        ("while read x; do a; done <f", ["while read x; do a; done <f"]),
    ],
)
def test_statements(script: str, texts: list[str]) -> None:
    assert [statement.text for statement in statements(script)] == texts


@pytest.mark.parametrize("script", ['a "b', "a $(b", "a) b", "if a; then b", "cat <<EOF\nx"])
def test_what_does_not_end_is_not_read(script: str) -> None:
    with pytest.raises(Unreadable):
        statements(script)


def test_words_only_where_they_are_plain() -> None:
    plain, pipe, loop, filled = statements("a 'b c' | d; a | b\nfor x in y; do z; done; a $(b)")[:4]
    assert plain.pipeline == (("a", "b c"), ("d",))
    assert pipe.words == ()
    assert loop.pipeline == filled.pipeline == ()
    assert programs("a 'x|y' | b || c") == ["a 'x|y'", "b || c"]


def test_a_long_script_takes_no_time() -> None:
    assert len(statements("echo 'a b c' && \\\n" * 20_000 + "end")) == 20_001


def test_expand() -> None:
    assert expand("$A/${B}/$C/${version}", {"A": "1", "B": "2"}) == "1/2/$C/${version}"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("curl -fsSL -o a.tgz https://e.org/b.tgz", [Fetch("https://e.org/b.tgz", "a.tgz")]),
        ("curl -fsSLo a.tgz https://e.org/b.tgz", [Fetch("https://e.org/b.tgz", "a.tgz")]),
        ("curl -LO https://e.org/b.tgz", [Fetch("https://e.org/b.tgz", "b.tgz")]),
        ("curl --retry 5 https://e.org/b.tgz", [Fetch("https://e.org/b.tgz")]),
        ("curl https://e.org/b.tgz > c", [Fetch("https://e.org/b.tgz", "c")]),
        ("wget -q https://e.org/b.tgz?x=1", [Fetch("https://e.org/b.tgz?x=1", "b.tgz")]),
        ("wget -qO- https://e.org/b.tgz", [Fetch("https://e.org/b.tgz")]),
        ("wget -O x https://e.org/b.tgz", [Fetch("https://e.org/b.tgz", "x")]),
        ("wget -c https://e.org/b.tgz -P /d", [Fetch("https://e.org/b.tgz", "/d/b.tgz")]),
        ("wget -i list", None),
        ("tar x", None),
    ],
)
def test_fetches(words: str, found: list[Fetch] | None) -> None:
    assert fetches(words.split()) == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/tool", "/opt/tool"),
        ("/opt/my tool", "'/opt/my tool'"),
        ("/opt/my tool/$VER", '"/opt/my tool/$VER"'),
        ("/opt/it's/${VER}", '"/opt/it\'s/${VER}"'),
        ("/opt/$(touch x)/a b", "'/opt/$(touch x)/a b'"),
        ("/opt/$(touch x)/$A", '"/opt/\\$(touch x)/$A"'),
        ('/opt/`touch x`/"$A"\\', '"/opt/\\`touch x\\`/\\"$A\\"\\\\"'),
        ("/opt/${A:-b c}", '"/opt/${A:-b c}"'),
        ("/opt/${A:-$(touch x)}/$B", '"/opt/\\${A:-\\$(touch x)}/$B"'),
        (f"/opt/{DOLLAR}A/$B", '"/opt/\\$A/$B"'),
        (f"{DOLLAR}A", "'$A'"),
    ],
)
def test_variables_are_all_that_a_word_fills_in(text: str, expected: str) -> None:
    assert word(text) == expected


def test_words_of_commands() -> None:
    assert word_of_shell("${name%.gz}.tar $(touch x)") == '"${name%.gz}.tar \\$(touch x)"'


def words(text: str) -> list[str]:
    return text.split()


def test_clones() -> None:
    cloned = clone_of(words("git clone --depth 1 -b v1 https://e.org/a/b"))
    assert cloned == Clone("https://e.org/a/b.git", "b", "v1")
    assert clone_of(words("git clone --recursive git@e.org:a/b.git .")) == Clone(
        "https://e.org/a/b.git", ".", "", submodules=True
    )
    assert clone_of(words("git pull")) is None


def test_package_managers() -> None:
    asked = apt_of(words("apt-get -qq install -y --no-install-recommends -o A=b g++ ./x.deb"))
    assert asked is not None
    assert (asked.action, asked.names, asked.files) == ("install", ("g++",), ("./x.deb",))
    pip = pip_of(words("python3 -m pip install -U --index-url https://e.org/simple -r r.txt a==1 b"))
    assert pip is not None
    assert (pip.packages, pip.requirements, pip.index) == (["a==1", "b"], ["r.txt"], "https://e.org/simple")
    conda = conda_of(words("mamba create -yq -c x --channel=y --name=e python=3.9 a"))
    assert conda is not None
    assert (conda.packages, conda.channels) == (["python=3.9", "a"], ["x", "y"])
    assert (conda.action, conda.environment) == ("create", "e")
    assert pip_of(words("python setup.py install")) is None
