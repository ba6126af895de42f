"""What a person sees of a training that a kernel reports: lines in a log, a bar on a terminal."""

import io
import json
import os

import pytest

from lavae_core.companion import display
from lavae_core.companion.display import Watch
from lavae_core.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path / "progress.json")


def report(watch: Watch, **changed) -> None:
    state = {"writer": 1, "label": "stage 1", "done": 0, "total": 1000, "losses": {}}
    watch._file.write_text(json.dumps(state | changed))


def test_the_time_left_of_two_trainings_at_once(watch, monkeypatch):
    lines, now = [], [0.0]
    monkeypatch.setattr(display.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(display, "say", lines.append)
    watch = Watch(watch._file)  # of this clock
    for seconds, writer, done in ((0, 1, 0), (1, 2, 500), (60, 1, 100), (120, 2, 600)):
        now[0] = float(seconds)
        report(watch, writer=writer, done=done)
        watch.tick()
    assert [line.split(", ")[2] for line in lines] == ["09:00 left", "07:56 left"]


def test_a_terminal_has_a_bar_for_each_training_until_it_is_done(watch, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    report(watch, done=250, losses={"kl": 25.0})
    watch.tick()
    report(watch, done=500, losses={"kl": 24.5})
    watch._bar.mininterval = 0  # what a person would wait for
    watch.tick()
    shown = terminal.getvalue()
    assert "stage 1" in shown
    assert "500/1000" in shown and "kl 24.5" in shown
    report(watch, label="stage 3", total=80, done=8)
    watch.tick()
    assert "stage 3" in terminal.getvalue()
    report(watch, label="stage 3", total=80, done=80)
    watch.tick()
    assert watch._bar is None


def test_nothing_or_half_a_report_shows_nothing(watch, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    watch.tick()
    watch._file.write_text('{"writer": 1, "lab')
    watch.tick()
    assert terminal.getvalue() == ""


def test_what_a_training_writes_is_what_is_shown(watch, monkeypatch):
    monkeypatch.setenv("LAVAE_PROGRESS_FILE", str(watch._file))
    Progress("stage 1", 100, done=40).update(10, {"kl": 2.0})
    assert json.loads(watch._file.read_text()) == {
        "writer": os.getpid(), "label": "stage 1", "done": 50, "total": 100, "losses": {"kl": 2.0},
    }  # fmt: skip
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    watch.tick()
    assert "50/100" in terminal.getvalue()
