"""Dockerfiles, the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.errors import BadFiles
from imagefactory.importing import DONE, NOT, PART, read_foreign
from tests.unit.imports import Brought, Make, bring

Import = Callable[..., Brought]

TEXT = """\
# syntax=docker/dockerfile:1
ARG RELEASE=bookworm
FROM python:3.11 AS builder
RUN make
FROM debian:${RELEASE}-slim
ARG RELEASE
ARG TOOL=3.4
ARG NOTHING
LABEL org.opencontainers.image.title="The Tool" \\
      org.opencontainers.image.version="2.5" \\
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
ENV DEBIAN_FRONTEND=noninteractive \\
    APP_HOME=/opt/app
ENV PATH="$APP_HOME/bin:$PATH" LD_LIBRARY_PATH=/opt/app/lib:$LD_LIBRARY_PATH
ENV OLD form of it
RUN apt-get update && apt-get install -y --no-install-recommends \\
        # what it needs
        a1 \\
        b2=7.88.* \\
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache pip3 install "numpy>=1.26,<2" scipy==$TOOL
RUN <<EOF
mkdir -p /opt/app/bin
echo one; echo two
EOF
RUN cat <<'EOT' > /opt/app/bin/hi
#!/bin/sh
echo "a && b"
EOT
RUN ["make", "a b"]
COPY --chown=1 hello.txt *.md /opt/app/
COPY --from=builder /x /y
ADD https://example.org/data-1.0.tar.gz /opt/data/
ADD packed.tar.gz /opt/unpacked
WORKDIR $APP_HOME
USER nobody
EXPOSE 80
SHELL ["/bin/bash", "-c"]
RUN make last
ENTRYPOINT ["/opt/app/bin/hi", "--verbose"]
CMD ["x"]
"""


@pytest.fixture
def imported(workspace: Make, tmp_path: Path) -> Import:
    return lambda text, **options: bring(workspace, tmp_path / "their", text, **options)


def test_all_of_it(imported: Import) -> None:
    beside = {"hello.txt": b"hi\n", "a.md": b"a", "packed.tar.gz": b"\0"}
    found = imported(TEXT, file="Dockerfile", beside=beside)
    image = found.image
    assert (image.title, image.version, image.licence) == ("The Tool", "2.5", "(MIT OR Apache-2.0)")
    assert image.base == "debian-12"
    assert image.inputs.apt == ("a1", "b2")
    assert image.inputs.pip is not None
    assert image.inputs.pip.packages == ("numpy>=1.26,<2", "scipy==3.4")
    assert image.environment == {
        "APP_HOME": "/opt/app",
        "LD_LIBRARY_PATH": "/opt/app/lib",
        "OLD": "form of it",
    }
    assert image.path[0] == "/opt/app/bin"
    assert image.commands == ("hi",)
    assert {file.path for file in image.folder.files} == {"hello.txt", "a.md", "packed.tar.gz"}
    assert "export TOOL=3.4\n" in found.script
    assert "mkdir -p /opt/app/bin\necho one\necho two\n" in found.script
    assert "cat <<'EOT' > /opt/app/bin/hi\n#!/bin/sh\necho \"a && b\"\nEOT\n" in found.script
    assert "make 'a b'\n" in found.script
    assert "cp -R /recipe/files/a.md /opt/app/\n" in found.script
    assert "cp -R /sources/data-1-0/data-1.0.tar.gz /opt/data/\n" in found.script
    assert "tar -xf /recipe/files/packed.tar.gz -C /opt/unpacked\n" in found.script
    assert "mkdir -p /opt/app\ncd /opt/app\n" in found.script
    assert "bash -e -c 'make last'\n" in found.script
    assert found.outcomes("FROM") == [DONE]
    assert found.outcomes("ARG") == [DONE, DONE, DONE, PART]
    assert found.outcomes("COPY") == [DONE, NOT]
    assert found.outcomes("stage") == found.outcomes("EXPOSE") == [NOT]
    assert found.outcomes("CMD") == [DONE]


def test_another_base(imported: Import) -> None:
    found = imported("FROM ubuntu:24.04\nRUN make\n", file="Dockerfile")
    assert "# It was made on ubuntu:24.04: packages may have other names" in found.recipe
    assert found.outcomes("FROM") == [PART]


def test_lines_are_joined_as_docker_joins_them(imported: Import) -> None:
    text = r"""FROM debian:12
RUN printf '#!/bin/sh\n\
exec x "$@"\n' > f && \
    make 'a b' \
      "c \
d" # no \
  more
RUN\
  make last
"""
    found = imported(text, file="Dockerfile")
    assert "printf '#!/bin/sh\\nexec x \"$@\"\\n' > f\nmake 'a b' \\\n" in found.script
    assert '"c \\\nd" # no   more\n' in found.script
    assert found.script.endswith("\nmake last\n")


def test_another_escape(imported: Import) -> None:
    text = """\
# syntax=docker/dockerfile:1
# escape=`
FROM debian:12
ENV A=b `
    C=x`$A D="\\n"
RUN make `
    && make 'in`
stall'
WORKDIR /opt/`$A
"""
    found = imported(text, file="Dockerfile")
    assert found.image.environment == {"A": "b", "C": "x$A", "D": "\\n"}
    assert "# RUN, line 6\nmake\nmake 'install'\n" in found.script
    assert "cd '/opt/$A'\n" in found.script


def test_literal_dollars(imported: Import) -> None:
    text = r"""FROM debian:12
ENV A=1 LIT='$HOME/x' ESC=\$HOME/y OWN="$HOME/z"
ENV D='single $A' E="double $A \$A"
ENV F='${HOME}/a'
ENV OLD it is '$A'
RUN echo "$F"
"""
    found = imported(text, file="Dockerfile")
    assert found.image.environment == {
        "A": "1",
        "LIT": "$HOME/x",
        "ESC": "$HOME/y",
        "OWN": "${HOME}/z",
        "D": "single $A",
        "E": "double 1 $A",
        "OLD": "it is $A",
    }
    assert "# not taken: F=${HOME}/a (a literal ${HOME} can't be said here, where it is" in found.recipe
    assert "export F='${HOME}/a'\n" in found.script
    assert found.outcomes("ENV") == [DONE, DONE, NOT, DONE]


def test_modes_and_owners(imported: Import) -> None:
    text = """\
FROM debian:12
COPY --chmod=755 tool /usr/local/bin/tool
COPY --link --chmod=u=rwX,go=rX --chown=app:app tool more/ /opt/it/
COPY --chmod=1;x tool /opt/
COPY --parents tool /opt/
"""
    found = imported(text, file="Dockerfile", beside={"tool": b"x", "more/a": b"", "more/b/c d": b""})
    assert "cp -R /recipe/files/tool /usr/local/bin/tool\nchmod 755 /usr/local/bin/tool\n" in found.script
    assert "# --chown=app:app is left out: " in found.script
    assert "/opt/it/\nchmod u=rwX,go=rX /opt/it/tool\n" in found.script
    assert "chmod -R u=rwX,go=rX /opt/it/a /opt/it/b\n" in found.script
    assert "fail 'line 4: --chmod=1;x is not known'\n" in found.script
    assert "fail 'line 5: it has --parents, which is not translated'\n" in found.script
    assert found.outcomes("COPY") == [DONE, DONE, PART, NOT]


def test_a_checksum_makes_a_whole_source(imported: Import) -> None:
    pin = "a" * 64
    text = f"FROM debian:12\nADD --checksum=sha256:{pin} https://example.org/data-1.tar.gz /opt/\n"
    found = imported(text, file="Dockerfile")
    assert found.image.inputs.sources["data-1"].sha256 == pin
    assert "need " not in found.script
    assert found.outcomes("ADD") == found.outcomes("file") == [DONE]


def test_odd_names_of_files(imported: Import) -> None:
    text = r"""FROM debian:12
COPY "a b" c\$d /opt/
ADD ["e f.tar", "/opt/x y"]
RUN ["make", \
    "all"]
"""
    found = imported(text, file="Dockerfile", beside={"a b": b"1", "c$d": b"2", "e f.tar": b"\0"})
    assert "cp -R '/recipe/files/a b' /opt/\ncp -R '/recipe/files/c$d' /opt/\n" in found.script
    assert "&& tar -xf '/recipe/files/e f.tar' -C " in found.script
    assert found.script.endswith("\nmake all\n")
    assert found.outcomes("COPY") == found.outcomes("ADD") == [DONE]


@pytest.mark.parametrize(
    ("shell", "starts", "outcome"),
    [
        ('["/bin/bash", "-o", "pipefail", "-c"]', "bash -e -o pipefail -c 'a | b'", DONE),
        ('["/bin/bash", "-eo", "pipefail", "-xc"]', "bash -e -eo pipefail -x -c 'a | b'", DONE),
        ('["bash", "-ec"]', "bash -e -c 'a | b'", DONE),
        ('["/bin/sh", "-ec"]', "a | b", DONE),
        ('["/bin/ash", "-uc"]', "a | b", PART),
        ('["conda", "run", "-n", "x", "/bin/bash", "-c"]', "bash -e -c 'a | b'", PART),
    ],
)
def test_shells(imported: Import, shell: str, starts: str, outcome: str) -> None:
    found = imported(f"FROM debian:12\nSHELL {shell}\nRUN a | b\n", file="Dockerfile")
    assert f"\n{starts}\n" in found.script
    assert found.outcomes("SHELL") == [outcome]


def test_links_that_lead_outside_are_named(imported: Import, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "their" / "in").mkdir(parents=True)
    (tmp_path / "their" / "in" / "link").symlink_to("../../secret")
    found = imported("FROM debian:12\nCOPY . /opt/all\n", file="Dockerfile", beside={"a": b"1"})
    assert {file.path for file in found.image.folder.files} == {"a", "Dockerfile"}
    why = "in/link: a link, and it is outside the folder of the recipe"
    assert (
        f"cp -R /recipe/files/. /opt/all\n# Not translated: copy in/link /opt/all: {why}.\nfail"
        in found.script
    )
    assert found.outcomes("COPY") == [PART]
    assert why in {remark.why for remark in found.imported.remarks}


def test_nothing_from_outside_its_folder(imported: Import, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "their").mkdir()
    (tmp_path / "their" / "link").symlink_to("../secret")
    text = "FROM debian:12\nCOPY ../secret link /etc/hostname /opt/\n"
    found = imported(text, file="Dockerfile")
    assert found.image.folder.files == ()
    assert found.outcomes("COPY") == [NOT]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("RUN make\n", ":1:1: there is no FROM"),
        ("FROM a\n\nRUNN make\n", ":3:1: no instruction of a Dockerfile begins with 'RUNN'"),
        ("", ":1:1: there is no FROM"),
    ],
)
def test_what_is_none(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(BadFiles) as error:
        read_foreign(tmp_path / "x", dockerfile=True)
    assert place in str(error.value)
