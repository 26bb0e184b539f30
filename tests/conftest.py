"""The command line under test."""

import os

import pytest

from accel.cli.app import main


@pytest.fixture
def accel(capfd, monkeypatch):
    """Run the command line; return its exit status, standard output and standard error."""
    monkeypatch.setenv("PATH", os.environ["PATH"])

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        output = capfd.readouterr()
        return stop.value.code, output.out, output.err

    return run


@pytest.fixture
def refuses(accel):
    """Assert that arguments are refused in one line that holds all the words."""

    def check(arguments, *words):
        status, out, err = accel(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for word in words:
            assert str(word) in err

    return check
