"""What recipes can say: values used twice, parts, programs by pattern, a Python of conda's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.bench import Bench, docker
from tests.engines.cluster import apptainer, build_definition
from tests.upstreams.channel import Package, make_channel
from tests.upstreams.server import Upstream

# The base image's own, under another prefix, is as real as any: nothing here reaches conda-forge.
BRINGS_PYTHON = """\
#!/bin/sh
set -eu
cp /usr/bin/python3.11 "$PREFIX/bin/python3.11"
ln -s python3.11 "$PREFIX/bin/python"
cp -r /usr/lib/python3.11 "$PREFIX/lib/"
"""
PART_INSTALLS = """\
#!/bin/sh
set -eu
mkdir -p /opt/tools/bin
for name in greet-hello greet-bye; do
    program=/opt/tools/bin/$name
    printf '#!/bin/sh\\necho %s %s of %s\\n' "$name" "$release" "$(cat /sources/words/words.txt)" >$program
    chmod 755 $program
done
cp /recipe/files/note /opt/tools/note
"""

APP_INSTALLS = """\
mkdir -p /opt/app/bin
for name in one two; do
    printf '#!/bin/sh\\necho %s\\n' $name >/opt/app/bin/app-$name
    chmod 755 /opt/app/bin/app-$name
done
: >/opt/app/bin/notes
cp /opt/tools/bin/greet-bye /opt/app/bin/said
echo "$release" >/opt/app/release
"""


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """An archive, and a conda channel."""
    python = Package("python", "3.11.2", subdir="linux-64", files={"lib/.keep": ""}, post_link=BRINGS_PYTHON)
    make_channel(tmp_path / "upstream" / "lab", [python, Package("python", "3.13.1", subdir="linux-64")])
    (tmp_path / "upstream" / "words.txt").write_text("words")
    with Upstream(tmp_path / "upstream") as server:
        yield server


def part(bench: Bench, upstream: Upstream) -> None:
    """A part that has sources, a stage, a file, commands and a test of its own."""
    folder = bench.root / "recipes" / "_parts" / "tools"
    (folder / "files").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "files" / "note").write_text("a note\n")
    (folder / "tests" / "note.sh").write_text("cat /opt/tools/note\n")
    (folder / "install.sh").write_text(PART_INSTALLS)
    words = {"url": f"{upstream.url}/${{word}}.txt", "sha256": hashlib.sha256(b"words").hexdigest()}
    document = {
        "name": "tools",
        "title": "Tools of several recipes",
        "values": {"release": "0.9", "word": "words"},
        "build": {"inputs": {"apt": ["bc"], "sources": {"words": words}}, "keep": ["/opt/tools"]},
        "environment": {"TOOLS_RELEASE": "${release}"},
        "path": ["/opt/tools/bin"],
        "commands": ["greet-*"],
        "tests": [
            {"name": "tools", "command": ["sh", "/tests/parts/tools/note.sh"], "output": ["^a note$"]},
        ],
    }
    (folder / "part.yaml").write_text(json.dumps(document, indent=1))


def test_parts_values_and_patterns(bench: Bench, upstream: Upstream, tmp_path: Path) -> None:
    part(bench, upstream)
    image = bench.recipe(
        "parts",
        APP_INSTALLS,
        version="${release}",
        values={"release": "1.2", "other": "a b'c"},
        parts=["tools"],
        build={"keep": ["/opt/app"]},
        environment={"OTHER": "${other} on ${machine}, ${HOME}"},
        path=["/opt/app/bin"],
        commands=["sort", "/opt/app/bin/*"],
        tests=[
            {"name": "app", "command": ["app-one"], "output": ["^one$"]},
            {"name": "release", "command": ["greet-hello"], "output": ["^greet-hello ${release} of words$"]},
        ],
    )
    bench.run("check", image)
    bench.run("build", "--format", "sif", image)
    report = bench.report(image)
    assert report["version"] == "1.2"
    assert report["commands"] == ["sort", "app-one", "app-two", "said", "greet-bye", "greet-hello"]
    assert [test["name"] for test in report["tests"] if test["kind"] == "smoke"] == [
        "app",
        "release",
        "tools",
    ]
    name = f"imagefactory/{image}:1.2"
    script = 'cat /opt/app/release /opt/tools/note; said; echo "$OTHER $TOOLS_RELEASE"; command -v bc; :'
    expected = "1.2\na note\ngreet-bye 1.2 of words\na b'c on x86_64, /home/user 1.2\n"
    assert docker("run", "--rm", name, "sh", "-c", script) == expected
    assert docker("run", "--rm", name, "cat", "/etc/imagefactory/commands").split() == report["commands"]
    assert docker("run", "--rm", name, "sh", "-c", 'echo "$release"; ls -d /opt/part*; :') == "\n"
    # Its SIF file knows them all, and so do launchers.
    (sif,) = (bench.build / image).glob("*.sif")
    assert apptainer("run", "--no-privs", "--app", "greet-hello", str(sif)) == "greet-hello 1.2 of words\n"
    assert "greet-bye" in apptainer("run-help", str(sif))
    bench.run("wrappers", image, "--to", str(tmp_path / "apps"))
    there = {file.name for file in next((tmp_path / "apps").rglob("bin")).iterdir()}
    assert set(report["commands"]) <= there
    # An edit of the part is a change of the image, and is named.
    assert bench.run("plan", image, "--json").json()[0]["action"] == "nothing"
    note = bench.root / "recipes" / "_parts" / "tools" / "files" / "note"
    note.write_text("another note\n")
    assert any(
        "parts/tools/files/note" in why for why in bench.run("plan", image, "--json").json()[0]["reasons"]
    )
    # A pattern that means nothing is an error, and nothing is left of the build.
    bench.recipe("parts", parts=["tools"], commands=["greet-*", "nothing-*"])
    ended = bench.run("build", image, status=1)
    assert "commands: no program is meant by nothing-*" in ended.text
    bench.assert_clean()


@pytest.mark.long
def test_the_same_with_apptainer_alone(
    bench: Bench, base_as_file: list[str], upstream: Upstream, tmp_path: Path
) -> None:
    part(bench, upstream)
    image = bench.recipe(
        "partsdef",
        "true",
        parts=["tools"],
        values={"release": "1.2"},
        version="${release}",
        commands=["sort"],
    )
    bench.run("lock", image)
    bench.run("render", image, "--to", str(tmp_path))
    sif = build_definition(tmp_path / image, image, tmp_path / "built.sif", base_as_file)
    assert apptainer("exec", "--no-privs", str(sif), "greet-bye") == "greet-bye 1.2 of words\n"
    assert apptainer("exec", "--no-privs", str(sif), "cat", "/etc/imagefactory/commands").split()[0] == "sort"
    assert apptainer("exec", "--no-privs", str(sif), "sh", "-c", "ls -d /*.sh /part*; :") == ""


def test_python_packages_for_the_python_of_conda(bench: Bench, upstream: Upstream) -> None:
    image = bench.recipe(
        "conda-python",
        inputs={
            "apt": ["libexpat1"],  # of which that Python is made, too
            "conda": {"channels": [f"{upstream.url}/lab"], "packages": ["python 3.11.*"]},
            "pip": {"python": "conda", "packages": ["idna==3.6"]},
        },
        commands=["python"],
    )
    bench.run("build", image)
    script = "import idna, sys; print(idna.__version__, sys.prefix, sys.base_prefix)"
    name = f"imagefactory/{image}:1.0"
    assert docker("run", "--rm", name, "python", "-c", script) == "3.6 /opt/venv /opt/conda\n"
    assert docker("run", "--rm", name, "sh", "-c", "ls /usr/bin/python3*; :") == ""


def test_data_of_tests_and_full_tests(bench: Bench, upstream: Upstream, tmp_path: Path) -> None:
    """Data are fetched once, before a build, and are in no image; full tests wait to be asked for."""
    data = tmp_path / "upstream" / "stars.csv"
    data.write_text("vega,0.03\nsirius,-1.46\n")
    stars = {"url": f"{upstream.url}/stars.csv", "sha256": hashlib.sha256(data.read_bytes()).hexdigest()}
    more = {"url": f"{upstream.url}/more.csv", "sha256": hashlib.sha256(b"more").hexdigest()}
    read = {"command": ["sort", "/data/stars/stars.csv"], "data": ["stars"], "output": ["^sirius,-1.46$"]}
    image = bench.recipe(
        "data",
        "true",
        test_data={"stars": stars, "more": more},
        tests=[
            {"name": "quick", **read},
            {"name": "long", "full": True, "command": ["cat", "/data/more/more.csv"], "data": ["more"]},
        ],
    )
    bench.run("lock", image)
    data.rename(tmp_path / "away")
    ended = bench.run("build", image, status=1)
    assert f"recipes/{image}: test data stars" in ended.text
    assert not bench.report_file(image).exists()
    (tmp_path / "away").rename(data)
    bench.run("build", "--format", "sif", image)

    def results(kind: str = "oci") -> list[tuple[str, str, str]]:
        tests = bench.report(image, kind)["tests"]
        return [(t["name"], t["status"], t.get("reason", "")) for t in tests if t["kind"] == "smoke"]

    left_out = ("long", "not-run", "a full test: --full runs it")
    assert results() == [("quick", "passed", ""), left_out]
    assert results("sif") == [("quick", "passed", "")] * 2 + [left_out] * 2
    assert docker("run", "--rm", f"imagefactory/{image}:1.0", "sh", "-c", "ls -d /data; :") == ""
    # Nothing is owed: the same is up to date, and data that were fetched are not fetched again.
    data.unlink()
    assert bench.run("plan", image, "--json").json()[0]["action"] == "nothing"
    bench.run("test", image)
    assert stars["sha256"] not in bench.run("store", "prune", "--unused-for", "0").out
    # Asked for, what they read is fetched, and only they make it worth a run.
    ended = bench.run("build", "--full", image, status=1)
    assert f"recipes/{image}: test data more" in ended.text
    (tmp_path / "upstream" / "more.csv").write_text("more")
    bench.run("build", "--full", image)
    assert results() == [("quick", "passed", ""), ("long", "passed", "")]
    assert "nothing" in bench.run("build", "--full", image).out
    # What they said stays, as long as the same is tested.
    bench.run("test", image)
    assert results() == [("quick", "passed", ""), ("long", "passed", "")]
    bench.assert_clean()
