"""Child processes: start, look, stop, with their output in a log file of their own."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

STOP_GRACE_S = 12.0  # a service drains for 5 s and flushes for 5 s more before it is killed


class ChildProcess:
    """A process group of its own, so that Ctrl-C reaches the supervisor alone; `stop` first asks, then kills."""

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child and self.is_running() else None

    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs or before it was started; negative = ended by that signal."""
        return self._child.poll() if self._child else None

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return; a paused process is woken so that it can hear it."""
        if self._child and self.is_running():
            self._child.send_signal(signal.SIGTERM)
            self._child.send_signal(signal.SIGCONT)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Ask, wait up to `grace_s`, then kill."""
        self.ask_to_stop()
        if self._child is None:
            return
        try:
            self._child.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child and self.is_running():
            self._child.kill()
            self._child.wait()

    def log_tail(self, num_lines: int = 15) -> str:
        """The last lines of its log, for error messages."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-num_lines:])

    def _spawn(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:
        """Start it with its output in its log, in the folder and with the variables of this process unless told."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603  # argv is of this package's own making
                argv,
                env=environment,
                cwd=folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


class ManagedProcess(ChildProcess):
    """A child that can be started again as it was."""

    def __init__(self, name: str, argv: Sequence[str], environment: Mapping[str, str], log_path: Path) -> None:
        super().__init__(log_path)
        self.name = name
        self.num_starts = 0
        self._argv = list(argv)
        self._environment = dict(environment)

    def start(self) -> None:
        """Start it, once more when it ended."""
        self._spawn(self._argv, self._environment)
        self.num_starts += 1


def created_at_s(pid: int) -> float:
    """When the process `pid` was made; 0 when it does not run. With the pid it names a process for ever."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return 0.0


def resident_bytes(pid: int) -> int:
    """Memory that is resident now; 0 when the process is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def end_by_pid(pid: int, grace_s: float = STOP_GRACE_S) -> None:
    """Stop a process that is not our child."""
    try:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        give_up_s = time.monotonic() + grace_s
        while psutil.pid_exists(pid) and time.monotonic() < give_up_s:
            time.sleep(0.1)
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
