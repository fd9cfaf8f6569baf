"""Recipes of neurocontainers: every construct comes to its place, or stands there as a comment."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from imagefactory.errors import BadFiles
from imagefactory.importing import DONE, NOT, PART, read_foreign
from imagefactory.importing.steps import Foreign, Packages
from imagefactory.inputs.index import client_default
from tests.unit.imports import Brought, Make, bring, recipe_of

Import = Callable[..., Brought]


@pytest.fixture
def imported(workspace: Make, tmp_path: Path) -> Import:
    return lambda text, **options: bring(workspace, tmp_path / "their", text, **options)


def test_names_and_what_is_said_about_it(imported: Import) -> None:
    more = """\
copyright:
  - license: MIT
    url: https://example.org/licence
  - name: Its own terms
structured_readme:
  description: It does
    things.
  example: tool-box in out
  documentation: See https://example.org/docs.
  citation: |-
    @article{a,
      title={One}}
    @article{b, title={Two}}
categories: [image registration]
epoch: 1
draft: true
"""
    found = imported(recipe_of("- run: [make]", more), name="")
    image = found.image
    assert (image.id, image.title, image.version) == ("tool-box", "Tool_Box", "1.5")
    assert image.summary == "It does things."
    assert image.homepage == "https://example.org/docs"
    assert image.licence == "MIT AND LicenseRef-its-own-terms"
    assert image.citation == ("@article{a, title={One}}", "@article{b, title={Two}}")
    assert image.topics == ("image registration",)
    assert "tool-box in out" in image.folder.readme
    assert found.outcomes("draft") == [NOT]
    assert found.outcomes("epoch") == [DONE]
    assert "): upstream has it as a draft." in found.recipe


def test_what_is_not_said_is_to_be_filled_in(imported: Import) -> None:
    found = imported("name: x\nbuild: {directives: []}\n")
    assert found.image.version == "0"
    assert found.image.terms.policy == "private"
    assert found.recipe.count("# FILL IN:") == 5
    assert found.image.tests[0].command == ("true",)
    assert found.recipe.startswith(
        "# yaml-language-server: $schema=../../docs/schema/recipe.json\n# Imported "
    )


def test_values_stay_values(imported: Import) -> None:
    more = "variables:\n  prefix: /opt/tool-{{ context.version }}\n"
    text = """\
- environment:
    TOOL: "{{ context.prefix }}/share"
    PATH: "{{ context.prefix }}/bin:$PATH"
- run:
    - make PREFIX={{ context.prefix }} V={{ context.version }}
    - echo 'in {{ context.prefix }}' >f
    - make -j {{ parallel_jobs }} {{ arch }}
- install: libtool-{{ context.name|lower }}
"""
    found = imported(recipe_of(text, more, version="1.10"))
    assert found.image.version == "1.10"
    assert found.image.values == {"version": "1.10", "prefix": "/opt/tool-1.10"}
    assert found.image.environment == {"TOOL": "/opt/tool-1.10/share"}
    assert found.image.path == ("/opt/tool-1.10/bin",)
    assert "make PREFIX=${prefix} V=${version}\n" in found.script
    assert "echo 'in /opt/tool-1.10' >f\n" in found.script
    assert "make -j $(nproc) x86_64\n" in found.script
    assert "not taken: libtool-tool_box" in found.recipe


def test_packages(imported: Import) -> None:
    text = """\
- install: a1 b2
- install:
    - c3 d4=1.2
    - b2 # again
- run:
    - apt-get update && apt-get install -y --no-install-recommends e5 && rm -rf /var/lib/apt/lists/*
    - sudo apt install ./f.deb
    - pip3 install --no-cache-dir numpy 'scipy>=1.10' numpy==1.26
    - pip install torch --index-url https://download.pytorch.org/whl/cpu
"""
    found = imported(recipe_of(text))
    assert found.image.inputs.apt == ("a1", "b2", "c3", "d4", "e5")
    pip = found.image.inputs.pip
    assert pip is not None
    assert pip.packages == ("numpy==1.26", "scipy>=1.10", "torch")
    assert pip.python == "base"
    assert pip.indexes["pytorch"].packages == ("torch",)
    assert "dpkg --install ./f.deb" in found.script
    assert found.outcomes("run") == [PART]


def test_the_usual_index_needs_no_name(imported: Import) -> None:
    usual = client_default()
    scheme, _, rest = usual.partition("://")
    for address, named in ((usual, 0), (f"{usual}/", 0), (f"{scheme}://test.{rest}", 1)):
        found = imported(
            recipe_of(f"- run: [pip install idna --index-url {address}]"), name=f"i{len(address)}"
        )
        pip = found.image.inputs.pip
        assert pip is not None
        assert (pip.packages, len(pip.indexes)) == (("idna",), named)


def test_packages_of_another_distribution(imported: Import) -> None:
    text = recipe_of("- install: git gcc-c++\n- run: [yum install -y x]").replace("apt", "yum")
    found = imported(text.replace("debian:12", "centos:7"))
    assert found.image.inputs.apt == ()
    assert "yum installed: git gcc-c++" in found.recipe
    assert "fail " in found.script
    assert found.outcomes("install") == [NOT]
    assert found.outcomes("base-image") == [NOT]


def test_conda(imported: Import) -> None:
    text = """\
- template:
    name: miniconda
    version: 4.7.12
    conda_install: -c bioconda samtools=1.17
    pip_install: nipype==1.8
- run: [conda install -y -c conda-forge mamba=1, mamba clean -ay]
- environment:
    PATH: /opt/miniconda-4.7.12/bin:/opt/other/bin:$PATH
    HERE: /opt/miniconda-4.7.12/share
- run: [ls /opt/miniconda-4.7.12/lib]
- run: [mamba create -n second r-base]
"""
    found = imported(recipe_of(text))
    conda, pip = found.image.inputs.conda, found.image.inputs.pip
    assert conda is not None
    assert pip is not None
    assert conda.channels == ("bioconda", "conda-forge")
    assert conda.packages == ("python", "samtools=1.17")
    assert (pip.python, pip.packages) == ("conda", ("nipype==1.8",))
    assert found.image.environment == {"HERE": "/opt/conda/share"}
    assert found.image.path == ("/opt/other/bin", "/opt/venv/bin", "/opt/conda/bin")
    assert "ls /opt/conda/lib" in found.script
    assert "left out is the environment second: r-base" in found.recipe
    assert found.outcomes("run") == [DONE, DONE, NOT]


def test_installers_of_conda_are_not_run(imported: Import) -> None:
    text = """\
- run:
    - installer=/tmp/conda.sh
    - curl -fsSL -o "$installer" https://repo.example.org/Miniconda3-py39-Linux-x86_64.sh
    - bash "$installer" -b -p /opt/my-conda
    - rm -f "$installer"
    - conda config --prepend channels conda-forge
    - /opt/my-conda/bin/conda install -y "python=3.9"
    - /opt/my-conda/bin/pip install numpy
"""
    found = imported(recipe_of(text))
    assert found.image.inputs.conda is not None
    assert found.image.inputs.conda.packages == ("python=3.9",)
    assert "iniconda" not in found.recipe + found.script.partition("set -e")[2]
    assert found.outcomes("run") == [DONE]


def test_downloads_become_sources(imported: Import) -> None:
    commit = "c" * 40
    text = f"""\
- workdir: /opt/tool
- run:
    - curl -fsSL https://example.org/tool-{{{{ context.version }}}}.tar.gz | tar -xz --strip-components 1
    - wget https://example.org/latest/data.zip
    - curl -L "https://example.org/get?file=x.tgz" | tar xz
    - git clone --branch v2 https://example.org/a/lib.git
    - git clone https://github.com/a/Other .
    - git checkout {commit}
    - cd lib && make
- run: ['curl "https://example.org/$UNKNOWN/x"']
"""
    found = imported(recipe_of(text))
    assert found.image.inputs.sources["other"].commit == commit
    assert list(found.image.inputs.sources) == ["other"]
    assert "curl -fL https://example.org/tool-1.5.tar.gz | sha256sum" in found.recipe
    assert "url: https://example.org/tool-${version}.tar.gz" in found.recipe
    assert "this address may give another file" in found.recipe
    assert "git ls-remote https://example.org/a/lib.git v2" in found.recipe
    assert "need tool-1-5\n" in found.script
    assert "tar -xz --strip-components 1 </sources/tool-1-5/tool-1.5.tar.gz\n" in found.script
    assert "cp /sources/data/data.zip data.zip\n" in found.script
    assert "cat /sources/get/* | tar xz\n" in found.script
    assert "cp -R /sources/lib/. lib\n" in found.script
    assert "cp -R /sources/other/. .\n" in found.script
    assert "git checkout" not in found.script
    assert found.outcomes("run") == [PART, NOT]


def test_what_needs_a_network_stops(imported: Import) -> None:
    text = """\
- run: [npm install -g x]
- run: ['for u in a b; do curl -O https://example.org/$u; done']
- run: ['Rscript -e "install.packages(1)"']
- run: [git submodule update --init]
- run: [pip install . git+https://example.org/a/tool@v1]
- run: ['echo "no end']
- run: ['echo "deb https://example.org x y" >/etc/apt/sources.list.d/x.list']
- run: [make, python3 -m pip check, add-apt-repository -y universe]
"""
    found = imported(recipe_of(text))
    assert found.outcomes("run") == [NOT] * 7 + [DONE]
    assert found.script.count("\nfail '") == 7
    assert found.script.endswith("\nmake\n")
    assert "#     npm install -g x\n" in found.script
    assert "git ls-remote https://example.org/a/tool.git v1" in found.recipe


def test_files(imported: Import) -> None:
    more = """\
files:
  - name: hello
    executable: true
    contents: |
      #!/bin/sh
      echo {{ context.version }}
  - name: values.txt
    contents: "${version} stays"
  - name: beside.bin
    filename: beside.bin
  - name: gone
    filename: ../gone
  - name: data.zip
    url: https://example.org/data.zip
  - name: pinned.tgz
    url: https://example.org/{{ context.version }}/download
    sha256: SHA256
""".replace("SHA256", "a" * 64)
    text = """\
- copy: hello /usr/local/bin/
- copy: [values.txt, beside.bin, /opt/x]
- copy: gone /opt/gone
- run: ['unzip {{ get_file("data.zip") }}', 'sh {{ get_file("hello") }}', 'x {{ get_file("no") }}']
- run: ['unzip {{ get_file("data.zip") }}', 'sh {{ get_file("hello") }}']
- run: ['tar xf {{ get_file("pinned.tgz") }}']
"""
    found = imported(recipe_of(text, more), beside={"beside.bin": b"\0\1"})
    there = {file.path: file for file in found.image.folder.files}
    assert there["hello"].data == b"#!/bin/sh\necho 1.5\n"
    assert there["hello"].mode == 0o755
    assert there["values.txt"].data == b"${version} stays"
    assert there["beside.bin"].data == b"\0\1"
    assert "cp -R /recipe/files/hello /usr/local/bin/" in found.script
    assert "unzip /sources/data/data.zip" in found.script
    assert "sh /recipe/files/hello" in found.script
    assert "no file is called no" in found.script
    assert "# FILL IN: files/gone: ../gone: it is not there" in found.recipe
    assert found.outcomes("copy") == [DONE, DONE, NOT]
    assert found.outcomes("file") == [DONE, DONE, DONE, NOT, PART, DONE]
    assert found.image.inputs.sources["pinned"].url == "https://example.org/1.5/download"
    assert "need pinned" not in found.script
    assert "tar xf /sources/pinned/download\n" in found.script
    assert found.outcomes("run") == [NOT, PART, DONE]


def test_kinds_of_machine(imported: Import) -> None:
    text = """\
- install: everywhere
- install: only-arm
  condition: arch=="aarch64"
- run: [make fast]
  condition: arch=="x86_64"
- run: [make]
- environment:
    PATH: /opt/x86/bin:$PATH
  condition: arch=="x86_64"
- run: ["make {{ arch }}"]
- run: [make never]
  condition: arch == "riscv"
- run: [make unsure]
  condition: undefined_name > 3
"""
    found = imported(recipe_of(text, machines="x86_64 aarch64"))
    assert found.image.inputs.apt == ("everywhere",)
    assert "  arm64:\n    inputs:\n" in found.recipe
    assert "      apt:\n        - only-arm\n" in found.recipe
    assert 'if [ "$(uname -m)" = x86_64 ]; then\n    make fast\nfi\n' in found.script
    assert 'if [ "$(uname -m)" = aarch64 ]; then\n    make aarch64\nfi\n' in found.script
    assert "never" not in found.script
    assert "#     run: \n#       - make unsure\n" in found.script or "make unsure" in found.script
    assert found.outcomes("run") == [DONE, DONE, DONE, DONE, NOT]


def test_groups_variables_and_macros(imported: Import) -> None:
    macro = b"builder: neurodocker\ndirectives:\n  - install: '{{ local.what }}'\n  - run: [make in-macro]\n"
    text = """\
- group:
    - variables: {inner: "{{ local.outer }}/in"}
    - workdir: "{{ local.inner }}"
  with: {outer: /opt/out}
- include: macros/some/neurodocker.yaml
  with: {what: from-macro}
- include: macros/none.yaml
"""
    found = imported(recipe_of(text), beside={"macros/some/neurodocker.yaml": macro})
    assert "cd /opt/out/in\n" in found.script
    assert found.image.inputs.apt == ("from-macro",)
    assert "# run, macros/some/neurodocker.yaml line 4\nmake in-macro\n" in found.script
    assert found.outcomes("include") == [NOT]


def test_environment(imported: Import) -> None:
    text = """\
- environment:
    DEBIAN_FRONTEND: noninteractive
    HERE: /opt/x
    LD_LIBRARY_PATH: $HERE/lib:$LD_LIBRARY_PATH
    HOME_OF: ~/.tool
    DEPOT: /opt/depot
    UNKNOWN: $SOMETHING/x
    LD_PRELOAD: x.so
- run: [make]
- environment: {DEPOT: "~/.tool:/opt/depot"}
"""
    found = imported(recipe_of(text))
    assert found.image.environment == {
        "HERE": "/opt/x",
        "LD_LIBRARY_PATH": "/opt/x/lib",
        "HOME_OF": "${HOME}/.tool",
        "DEPOT": "${HOME}/.tool:/opt/depot",
    }
    assert "# not taken: UNKNOWN=$SOMETHING/x (what it is made of is not known)" in found.recipe
    assert "# not taken: LD_PRELOAD=x.so (no recipe may set it)" in found.recipe
    assert found.script.index("export DEPOT=/opt/depot") < found.script.index("make")
    assert found.outcomes("environment") == [PART, DONE]


def test_folders_with_spaces(imported: Import) -> None:
    text = """\
- workdir: "/opt/my tool/$VER"
- workdir: "/opt/$(touch x)/a b"
"""
    found = imported(recipe_of(text))
    assert 'mkdir -p "/opt/my tool/$VER"\ncd "/opt/my tool/$VER"\n' in found.script
    assert "mkdir -p '/opt/$(touch x)/a b'\ncd '/opt/$(touch x)/a b'\n" in found.script


def test_what_is_deployed_and_menus(imported: Import) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
    more = f"""\
deploy:
  path: [/opt/tool/bin/, not-absolute]
  bins: [tool, /opt/more/other]
gui_apps:
  - {{name: The tool, exec: tool}}
  - {{name: Words, exec: tool --gui}}
icon: data:image/png;base64,{base64.b64encode(png).decode()}
"""
    found = imported(recipe_of("- user: neuro\n- entrypoint: bash", more))
    assert found.image.commands == ("/opt/tool/bin/*", "tool", "other")
    assert found.image.path == ("/opt/tool/bin", "/opt/more")
    (app,) = found.image.gui_apps
    assert (app.name, app.command, app.icon) == ("The tool", "tool", "app.png")
    assert found.image.folder.icons[0].data == png
    assert "# FILL IN: Words was started by: tool --gui" in found.recipe
    assert found.outcomes("deploy") == [PART]
    assert found.image.tests[0].command == ("sh", "-ec", "command -v tool")


def test_tests(imported: Import) -> None:
    text = """\
- test: {name: One liner, script: tool --version}
- test:
    name: Script
    script: |
      #!/bin/bash
      tool
      test -n "${version:-}"
- test: {name: By hand, manual: true, script: tool}
- test: {name: Their own, builtin: test_deploy.sh}
- test: {name: Net, script: "wget https://example.org/x"}
"""
    full = b"""\
version: 1.5
tests:
  - {name: Full, command: "tool ${output_dir}/x", expected_output_contains: "v${version}"}
  - {name: Writes, command: tool, expected_exit_code: 3, validate: [{output_exists: "${output_dir}/y"}]}
  - {name: After, command: tool, depends_on: Writes}
"""
    found = imported(recipe_of(text), beside={"fulltest.yaml": full})
    tests = {test.name: test for test in found.image.tests}
    assert tests["one-liner"].command == ("sh", "-ec", "tool --version")
    assert tests["script"].command == ("bash", "-e", "/tests/script.sh")
    assert tests["full"].output == (r"v1\.5",)
    assert tests["full"].full
    assert (tests["writes"].status, tests["writes"].files) == (3, ("y",))
    assert set(tests) == {"one-liner", "script", "full", "writes"}
    assert found.outcomes("test") == [DONE, DONE, NOT, DONE, NOT]
    assert found.outcomes("full test") == [DONE, DONE, NOT]
    assert "# Not translated: By hand (" in found.recipe


def test_templates_and_options(imported: Import) -> None:
    more = "options:\n  extra: {default: true, version_suffix: .extra}\n"
    text = """\
- template: {name: ants, version: "{{ context.original_version }}"}
- run: ["make {{ context.version }}"]
  condition: context.options.extra
- {boutique: {name: x}, condition: "true"}
- unheard-of: x
"""
    found = imported(recipe_of(text, more))
    assert found.image.version == "1.5.extra"
    assert "# Not translated: the template ants version=1.5: " in found.script
    assert "the template ants is to be replaced" in found.script
    assert "make ${version}" in found.script
    assert found.outcomes("template ants") == found.outcomes("boutique") == [NOT]
    assert found.outcomes("option") == [PART]
    assert found.outcomes("unheard-of") == [NOT]


def test_a_part_of_that_name_stands_for_a_template(workspace: Make, tmp_path: Path) -> None:
    part = workspace().recipes / "_parts" / "ants"
    part.mkdir(parents=True)
    (part / "part.yaml").write_text("name: ants\ntitle: ANTs\ninputs: {apt: [ants]}\n")
    found = bring(workspace, tmp_path / "their", recipe_of("- template: {name: ants, version: 2.4.3}"))
    assert found.image.parts == ("ants",)
    assert found.outcomes("template ants") == [PART]


def test_what_yaml_allows(imported: Import) -> None:
    text = """\
name: &name tool
version: 2.0
x-common: &common {A: "1", B: "2"}
build:
  base-image: debian:12
  directives:
    - environment: {<<: *common, B: "3", NAME: *name}
    - run: !!seq [make]
"""
    assert imported(text).image.environment == {"A": "1", "B": "3", "NAME": "tool"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name: x\nbuild: [\n", ":3:1: not valid YAML"),
        ("name: x\n", ":1:1: there is no 'build'"),
        ("name: x\nbuild: 3\n", ":2:8: there is no 'build'"),
        ("- a\n", ":1:1: expected 'key: value' lines"),
        ("builder: neurodocker\ndirectives: []\n", ":1:1: this is a macro"),
        ("a: &a [*a]\nbuild: {}\n", "nested deeper"),
        ("", ":1:1: the file is empty"),
    ],
)
def test_what_is_no_recipe(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(text)
    with pytest.raises(BadFiles) as error:
        read_foreign(file)
    assert place in str(error.value)


def test_names_that_are_not_declared(imported: Import) -> None:
    text = """\
- run: ["curl -O {{ context.url }}"]
- group: [{run: ["{{ local.what }}"]}]
- run: ["{{ context.other | default('x') }}"]
"""
    found = imported(recipe_of(text))
    assert [each.why for each in found.imported.remarks if each.kind == "run"] == [
        "context has no 'url'",
        "local has no 'what'",
        "",
    ]


def test_files_beside_are_copied(imported: Import, tmp_path: Path) -> None:
    text = """\
- copy: data-{{ context.version }}.txt /opt/
- copy: [folder, none, /opt/x]
- copy: ../secret /opt/
"""
    (tmp_path / "secret").write_text("s")
    beside = {"data-1.5.txt": b"1\n", "folder/a": b"2\n"}
    found = imported(recipe_of(text), beside=beside)
    assert {file.path for file in found.image.folder.files} == {"data-1.5.txt", "folder/a"}
    assert "cp -R /recipe/files/data-1.5.txt /opt/\n" in found.script
    assert "cp -R /recipe/files/folder/. /opt/x\n# Not translated: copy none /opt/x: there is" in found.script
    assert found.outcomes("copy") == [DONE, PART, NOT]


def test_macros_of_the_repository_and_of_no_folder_above(imported: Import, tmp_path: Path) -> None:
    top = tmp_path / "top"
    for folder, name in ((tmp_path, "outside"), (top, "inside")):
        (folder / "macros").mkdir(parents=True)
        (folder / "macros" / f"{name}.yaml").write_text(f"directives: [{{install: {name}}}]\n")
    (top / ".git").mkdir()
    (top / "recipes").mkdir()
    (top / "macros" / "broken.yaml").write_text("directives:\n  - [\n")
    (top / "macros" / "empty.yaml").write_text("name: x\n")
    (top / "macros" / "itself.yaml").write_text("directives: [{include: macros/itself.yaml}]\n")
    names = ("outside", "inside", "broken", "empty", "itself")
    text = recipe_of("".join(f"- include: macros/{name}.yaml\n" for name in names))
    file = top / "recipes" / "app" / "build.yaml"
    file.parent.mkdir()
    file.write_text(text)
    steps = read_foreign(file).steps
    assert [step.names for step in steps if isinstance(step, Packages)] == [("inside",)]
    why = [step.why for step in steps if isinstance(step, Foreign)]
    assert why[0].startswith("the macro macros/outside.yaml is not there")
    assert why[1].startswith("the macro macros/broken.yaml:3:1: not valid YAML")
    assert why[2:] == [
        "the macro macros/empty.yaml has no list of 'directives'",
        "macros include each other more than 5 deep",
    ]


def test_macros_without_a_repository_are_near(tmp_path: Path) -> None:
    (tmp_path / "macros").mkdir()
    (tmp_path / "macros" / "a.yaml").write_text("directives: [{install: found}]\n")
    (tmp_path / "b.yaml").write_text("directives: [{install: not-below-macros}]\n")
    text = recipe_of("- include: macros/a.yaml\n- include: b.yaml\n- include: macros/../b.yaml\n")
    for folder, count in (("1/2/3", 1), ("1/2/3/4", 0)):
        file = tmp_path / folder / "build.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        found = [step for step in read_foreign(file).steps if isinstance(step, Packages)]
        assert len(found) == count


def test_templates_of_tests_and_readmes(imported: Import) -> None:
    more = """\
readme: |
  Version {{ context.version }} of {{ context.nothing }}, and {{ "
"""
    full = b"""\
tests:
  - name: "Of {{ context.version }}"
    command: "tool {{ context.version }}"
    expected_output_contains: "{{ context.version }}"
  - {name: Broken, command: "tool {{ context.nothing }}"}
  - {name: Shell, command: "x=abc; echo ${#x}"}
"""
    found = imported(recipe_of("- run: [make]", more), beside={"fulltest.yaml": full})
    tests = {test.name: test for test in found.image.tests}
    assert tests["of-1-5"].command == ("sh", "-ec", "tool 1.5")
    assert tests["of-1-5"].output == (r"1\.5",)
    assert found.outcomes("full test") == [DONE, NOT, DONE]
    assert "context has no 'nothing'" in found.recipe
    assert found.image.folder.readme == 'Version 1.5 of {{ context.nothing }}, and {{ "\n'
    assert found.outcomes("readme") == [PART]


@pytest.mark.parametrize(
    "text", ["- environment: {A: '{{ context.nothing }}'}", "- environment: [A=b]", "- install: ['{{ x }}']"]
)
def test_what_an_installation_lacks_stops_it(imported: Import, text: str) -> None:
    assert "\nfail 'line 10: " in imported(recipe_of(text)).script


def test_folders_of_path(imported: Import) -> None:
    text = """\
- run: [conda create -n foo numpy, conda create -n bar scipy]
- environment:
    PATH: /opt/conda/envs/foo/bin:/opt/conda/envs/bar/bin:$PATH:/opt/last
    HERE: /opt/conda/envs/foo/share
"""
    found = imported(recipe_of(text))
    assert found.image.path == ("/opt/conda/envs/bar/bin", "/opt/last", "/opt/conda/bin")
    assert found.image.environment == {"HERE": "/opt/conda/share"}
    assert "# /opt/last stood at the end of PATH: here it is before the system's folders" in found.recipe


def test_templates_do_no_more_than_fill_in(imported: Import) -> None:
    text = """\
- run: ['{% for x in "aaaa" %}{{ x }}{% endfor %}']
- run: ['{{ "".__class__ }}']
- run: ['{{ "a" * 1000000000 }}']
- run: ['{{ context.version.__init__.__globals__ }}']
- run: ['{{ get_file.__globals__ }}']
"""
    found = imported(recipe_of(text))
    assert found.outcomes("run") == [NOT] * 5
