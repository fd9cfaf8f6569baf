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
