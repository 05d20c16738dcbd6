"""What surrounds the container image; the image itself is tried by `make image-test`."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
pytestmark = pytest.mark.skipif(not DOCKER.is_dir(), reason="not in a clone")


def engines(folder, **programs):
    """A folder for PATH with a minimal system and these container engines, as shell scripts."""
    for name in "sh sed git basename dirname mktemp stat cat grep awk head id pwd ls".split():
        if shutil.which(name):
            (folder / name).symlink_to(shutil.which(name))
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def image(folder, command="build", **variables):
    return subprocess.run(
        ["sh", str(DOCKER / "image.sh"), command],
        env={"PATH": str(folder), "HOME": str(folder)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_pinned_versions_are_those_that_the_package_accepts():
    lines = (DOCKER / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = list(project["dependencies"])
    installed = re.search(r'-e "\.\[([a-z,]+)\]"', (DOCKER / "Dockerfile").read_text())
    for extra in installed.group(1).split(","):
        wanted += extras[extra]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(Version(pinned[requirement.name])), requirement


def test_what_the_image_copies_is_there():
    lines = re.findall(r"^COPY (?!--from)(.+)$", (DOCKER / "Dockerfile").read_text(), re.M)
    assert lines
    for line in lines:
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_no_engine_is_one_sentence(tmp_path):
    done = image(engines(tmp_path, docker="echo no daemon >&2; exit 1"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "install docker, podman or buildah" in line


def test_a_named_engine_must_answer(tmp_path):
    done = image(engines(tmp_path, podman="exit 0"), ENGINE="docker")
    assert done.returncode == 1
    assert "ENGINE=docker does not answer" in done.stderr


def test_build_needs_no_argument(tmp_path):
    script = 'echo "docker $*"; [ "$1" != image ] || echo 1480000000'
    done = image(engines(tmp_path, docker=script))
    assert done.returncode == 0, done.stderr
    build = next(line for line in done.stdout.splitlines() if line.startswith("docker build"))
    assert build.startswith("docker build -f docker/Dockerfile -t dolfinx_admat ")
    assert build.endswith(" .")
    assert "BASE" not in build and "secret" not in build and "JAX" not in build
    assert "SOURCE=/" not in build
    run = next(line for line in done.stdout.splitlines() if line.startswith("docker run"))
    assert run == "docker run --rm --user 1000:1000 dolfinx_admat versions"


@pytest.mark.parametrize(
    ("origin", "label"),
    [
        ("https://me:secret@host.example/x.git", "SOURCE=https://host.example/x.git"),
        ("git@host.example:x.git", "SOURCE=git@host.example:x.git"),
        ("/home/me/x", None),
    ],
)
def test_label_of_the_source(tmp_path, origin, label):
    folder = engines(tmp_path, docker='echo "docker $*"')
    (folder / "git").unlink(missing_ok=True)  # where there is one
    (folder / "git").write_text(f'#!/bin/sh\n[ "$1" = remote ] && echo "{origin}"\n')
    (folder / "git").chmod(0o755)
    said = image(folder).stdout
    assert "secret" not in said
    assert label in said if label else "SOURCE" not in said


def test_build_with_arguments_through_the_engine_that_answers(tmp_path):
    folder = engines(tmp_path, docker="exit 1", podman='echo "podman $*"')
    done = image(folder, BASE="my/base", JAX="cuda13", EXTRA="git vim", IMAGE="mine:1", CA="/ca")
    assert done.returncode == 0, done.stderr
    build = next(line for line in done.stdout.splitlines() if line.startswith("podman build"))
    for part in (
        "-t mine:1",
        "BASE=my/base",
        "JAX=cuda13",
        "EXTRA=git vim",
        "--secret id=ca,src=/ca",
    ):
        assert part in build


def entrypoint(*arguments, cwd):
    return subprocess.run(
        ["sh", str(DOCKER / "entrypoint.sh"), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
    )


def test_no_image_is_one_sentence(tmp_path):
    script = 'case "$1 $2" in "image inspect") exit 1 ;; esac'
    done = image(engines(tmp_path, docker=script), "test")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no image 'dolfinx_admat' here: run make image first" in line


def test_parts_of_the_tests_without_a_chosen_one_are_no_failure(tmp_path):
    """pytest's 5 of the parts for ranks, and 1 of a failure in any of them."""
    folder = engines(tmp_path)
    for name in "df nproc env".split():
        (folder / name).symlink_to(shutil.which(name))
    (folder / "mpiexec").write_text("#!/bin/sh\nshift 2\nexit ${RANKS}\n")
    (folder / "python").write_text("#!/bin/sh\necho $*\nexit ${SERIAL}\n")
    script = tmp_path / "entrypoint.sh"
    text = (DOCKER / "entrypoint.sh").read_text()
    script.write_text(text.replace("source=/opt/dolfinx_admat", f"source={tmp_path}"))
    for name in ("mpiexec", "python"):
        (folder / name).chmod(0o755)
    for serial, ranks, status in ((0, 5, 0), (0, 0, 0), (5, 5, 1), (1, 5, 1), (0, 1, 1), (5, 0, 0)):
        done = subprocess.run(
            ["sh", str(script), "test", "-k", "x"], cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": str(folder), "HOME": str(tmp_path), "SERIAL": str(serial),
                 "RANKS": str(ranks)},
        )  # fmt: skip
        assert done.returncode == status, (serial, ranks, done.stderr)
        assert "-m pytest" in done.stdout and "tests -k x" in done.stdout


def test_wrong_use_prints_the_usage(tmp_path):
    done = entrypoint("simulate", cwd=tmp_path)
    assert done.returncode == 2
    assert "'simulate' is neither a command of this image nor a program in it" in done.stderr
    assert "usage: docker run" in done.stderr
    assert entrypoint("help", cwd=tmp_path).stdout.startswith("usage: docker run")


def test_programs_run_and_their_status_comes_back(tmp_path):
    assert entrypoint("sh", "-c", "echo here; exit 7", cwd=tmp_path).stdout == "here\n"
    assert entrypoint("sh", "-c", "exit 7", cwd=tmp_path).returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
def test_cross_memory_attach_is_refused_where_the_image_is_tried():
    call = (
        "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True); "
        "print(libc.process_vm_readv(os.getpid(), None, 0, None, 0, 0), ctypes.get_errno())"
    )
    command = [sys.executable, "-c", call]
    allowed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    if allowed[0] != "0":
        pytest.skip("refused on this machine as well")
    if os.uname().machine != "x86_64":
        pytest.skip("no_cma.py is for x86_64")
    refused = subprocess.run(
        [sys.executable, str(DOCKER / "no_cma.py"), *command], capture_output=True, text=True
    )
    assert refused.stdout.split() == ["-1", "1"], refused.stderr  # EPERM


def test_the_container_for_editors_is_the_same_image():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    found = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    folder = ROOT / ".devcontainer"
    assert (folder / found["build"]["dockerfile"]).resolve() == DOCKER / "Dockerfile"
    assert (folder / found["build"]["context"]).resolve() == ROOT
    assert found["remoteUser"] in (DOCKER / "Dockerfile").read_text()
