import os
import signal

import pytest

from eocontrast.runtime.signals import Stopped, asked_to_stop, deferred, stop_if_asked, stoppable
from eocontrast.runtime.stage import stage

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", CODES)
def test_signal_stops_at_once(number: signal.Signals) -> None:
    with pytest.raises(Stopped) as caught, stoppable():
        send(number)
    assert caught.value.exit_code == CODES[number]


def defer(*numbers: signal.Signals) -> None:
    """Send signals while they are deferred, then ask for them."""
    with stoppable(), deferred():
        stop_if_asked()
        for number in numbers:
            send(number)
        assert asked_to_stop()
        assert len(numbers) == 1
        stop_if_asked()


@pytest.mark.parametrize("number", CODES)
def test_deferred_signal_waits(number: signal.Signals) -> None:
    with pytest.raises(Stopped, match=number.name):
        defer(number)


def test_second_signal_stops_at_once() -> None:
    with pytest.raises(Stopped):
        defer(signal.SIGINT, signal.SIGINT)


def test_handlers_end_with_the_block() -> None:
    before = [signal.getsignal(number) for number in CODES]
    with pytest.raises(Stopped), stoppable():
        send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in CODES] == before
    assert not asked_to_stop()
    with stoppable(), deferred():
        stop_if_asked()


def test_stopped_is_no_exception() -> None:
    assert not issubclass(Stopped, Exception)


@pytest.mark.parametrize("number", CODES)
def test_stage_exits_with_shell_code(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught, stage("pretrain"):
        send(number)
    assert caught.value.code == CODES[number]
    message = f"pretrain: stopped by {number.name}; `dvc repro` continues from here\n"
    assert capsys.readouterr() == ("", message)
