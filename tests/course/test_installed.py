"""The course where the package is not a checkout: beside its dependencies in site-packages, wherever these are."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import click
import numpy
import pytest
import scipy

import minifl

SOUND = """
from minifl.course import assignments, carve, judge, proof
import minifl, numpy, sys
hw1 = assignments.load("hw1")
published = assignments.variant_of(hw1, "")
bad = [proof.line(row) for row in proof._one_variant(hw1, "published", published, "") if not row.passed]
carve.carve(hw1, "solved", reference=True)
graded = judge.grade(hw1, "solved")
print(minifl.__file__, numpy.__file__, *bad, f"{graded.earned:g} of {graded.points:g}", sep="\\n")
"""
KEPT_IN = """
from minifl.course import assignments, carve, judge, layers, sandbox
import os, tempfile
said, found = sandbox.tried()
hw1, folder = assignments.load("hw1"), tempfile.mkdtemp()
carve.carve(hw1, folder + "/solved", reference=True)
graded = judge.grade(hw1, folder + "/solved")
print(os.geteuid(), said["user"] not in (0, os.geteuid()), layers.missing(said), [name for name in found if not found[name]],
      f"{graded.earned:g} of {graded.points:g}")
"""


@pytest.fixture
def everybodys():
    """A folder that every user may enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="minifl-installed-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def virtual_environment(folder):
    """A virtual environment; returns its Python and where its packages go."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin/python", folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"


def of_conda(folder):
    """An environment as conda makes them: interpreter, library and packages below one prefix, nothing says where else."""
    library = folder / "lib" / f"python{sysconfig.get_python_version()}"
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=shutil.ignore_patterns(
        "site-packages", "dist-packages", "test", "config-*", "ensurepip", "idlelib", "__pycache__"))
    (folder / "bin").mkdir()
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        shutil.copy(Path(sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")), folder / "lib")
    return shutil.copy(Path(sys.executable).resolve(), folder / "bin/python3"), library / "site-packages"


def install(site, *packages):
    """Put packages into a folder, as wheels do."""
    for package in packages:
        folder = Path(package.__file__).resolve().parent
        for found in (folder, folder.with_name(f"{folder.name}.libs")):
            if found.exists():
                shutil.copytree(found, site / found.name, copy_function=_link,
                                ignore=shutil.ignore_patterns("__pycache__", "tests"))     # ours has tests.py, no tests/


def _link(source, target):
    try:
        os.link(source, target)
    except OSError:      # another file system
        shutil.copy2(source, target)


def said(python, tmp_path, **environment):
    """What SOUND says there, run from another folder: where minifl and NumPy are, what does not hold, the mark."""
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run([python, "-B", "-c", SOUND], cwd=tmp_path / "elsewhere", capture_output=True, encoding="utf-8",
                          env={"PATH": "/usr/bin:/bin", **environment})
    assert done.returncode == 0, done.stderr
    where, numpy_, *rest = done.stdout.splitlines()
    return where, numpy_, rest


@pytest.mark.parametrize("make", [virtual_environment, of_conda])
def test_the_course_is_sound_where_it_is_installed(everybodys, make):
    python, site = make(everybodys / "some-packages")      # a name that is no site-packages
    install(site, minifl, numpy, scipy, click)
    where, _, rest = said(python, everybodys)
    assert where == str(site / "minifl/__init__.py") and rest == ["24 of 24"]
    for user in (0, 65534) if make is of_conda and os.geteuid() == 0 else ():      # this Python is everybody's
        done = subprocess.run([python, "-B", "-c", KEPT_IN], cwd="/", capture_output=True, encoding="utf-8",
                              user=user, group=user, extra_groups=[], env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": f"{site.parents[1]}"})
        assert done.stdout == f"{user} {user == 0} [] [] 24 of 24\n", done.stderr


def test_packages_in_different_places(tmp_path):
    """Ours where PYTHONPATH says, the others in the environment; and another NumPy, which is not the first that is found."""
    python, site = virtual_environment(tmp_path / "b-environment")
    first = tmp_path / "z-first"
    install(first, minifl, numpy)
    install(site, scipy, click)
    (site / "numpy").mkdir()
    (site / "numpy/__init__.py").write_text("raise ImportError('the other NumPy')", encoding="utf-8")
    where, _, rest = said(python, tmp_path, PYTHONPATH=str(first))
    assert where == str(first / "minifl/__init__.py") and rest == ["24 of 24"]
