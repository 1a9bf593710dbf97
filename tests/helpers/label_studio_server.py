"""A real Label Studio on loopback, from an environment of its own (`make env-annotation`).

python tests/helpers/label_studio_server.py FOLDER     migrate a data base once, which each test then copies
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-annotation"
SEED = ENVIRONMENT / "label-studio"  # the migrated data base
TOKEN = "0123456789abcdef0123456789abcdef01234567"
USER, PASSWORD = "a@example.org", "first-pass-1"
SETTINGS = {
    "DJANGO_DB": "sqlite",
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "FEATURE_FLAGS_OFFLINE": "true",
    "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
}


@contextlib.contextmanager
def serve(data: Path, images: Path, seconds: float = 300) -> Iterator[str]:
    """Run the server until the block ends; it and what it started are ended by their process group.

    Args:
        data: its folder; a copy of :data:`SEED`, or empty for a migration.
        images: its document root, the folder above the image root.
        seconds: that it may take to start.

    Yields:
        Its address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(ENVIRONMENT / "bin/label-studio"), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    command += ["--port", str(port), "--data-dir", str(data), "--username", USER, "--password", PASSWORD]
    command += ["--user-token", TOKEN, "--enable-legacy-api-token", "--log-level", "WARNING"]
    path = os.pathsep.join([str(ENVIRONMENT / "bin"), os.environ["PATH"]])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LABEL_STUDIO"))}
    environment = {**kept, **SETTINGS, "PATH": path, "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(images)}
    data.mkdir(parents=True, exist_ok=True)
    with (data / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + seconds
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, (data / "server.log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"Label Studio did not start within {seconds} s"
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def migrate(folder: Path) -> None:
    """Make the data base, with one user, in a folder."""
    shutil.rmtree(folder, ignore_errors=True)
    with serve(folder, folder.parent):
        pass
    (folder / "server.log").unlink()


if __name__ == "__main__":
    migrate(Path(sys.argv[1]).resolve())
