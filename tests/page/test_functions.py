import pathlib
import shutil
import subprocess

import pytest

FILE = pathlib.Path(__file__).with_name("functions.test.js")  # the page's pure functions


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node 20.19: apt install nodejs")
def test_the_functions_of_the_page():
    done = subprocess.run(["node", "--test", FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
