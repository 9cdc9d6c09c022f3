"""Containers on a machine without a Docker engine: Podman with runc, in a folder of its own.

As a script: `python scripts/podman.py install` (Debian packages, needs root), `… installable`
(exit code 0 if Podman and runc are installed or can be), or `… purge`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build" / "containers"
# catatonit is what holds the pods of `podman kube play`.
PACKAGES = ("podman", "runc", "mmdebstrap", "catatonit")
# crun does not start under some hybrid cgroups; netavark and systemd are not needed either.
CONTAINERS = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=8192:8192"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
# Never look up a short name in a registry.
REGISTRIES = "unqualified-search-registries = []\n"
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "{home}/storage"\nrunroot = "{home}/run"\n'


def installable() -> bool:
    """Whether Podman and runc are installed, or can be: as root, from apt's sources."""
    if all(shutil.which(name) for name in PACKAGES):
        return True
    if os.getuid() or not shutil.which("apt-get"):
        return False
    commands = (["apt-get", "--quiet", "update"], ["apt-cache", "show", *PACKAGES])
    return not any(subprocess.run(argv, capture_output=True).returncode for argv in commands)


def install() -> None:
    """Install those of the packages that are missing."""
    missing = [name for name in PACKAGES if not shutil.which(name)]
    if missing:
        apt = ["apt-get", "--quiet", "--yes"]
        subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*apt, "install", "--no-install-recommends", *missing], check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip


def environment() -> dict[str, str]:
    """The environment in which Podman uses this project's own settings and storage."""
    HOME.mkdir(parents=True, exist_ok=True)
    texts = {"containers": CONTAINERS, "registries": REGISTRIES,
             "storage": STORAGE.format(home=HOME)}  # fmt: skip
    for name, text in texts.items():
        (HOME / f"{name}.conf").write_text(text, encoding="utf-8")
    return {
        **os.environ,
        "CONTAINERS_CONF": str(HOME / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(HOME / "registries.conf"),
        "CONTAINERS_STORAGE_CONF": str(HOME / "storage.conf"),
    }


def podman(*arguments: str) -> str:
    """Run a podman command and return its output.

    Raises:
        RuntimeError: It failed; the message quotes its error output.
    """
    done = subprocess.run(["podman", *arguments], env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def images() -> set[str]:
    """Full names of the images in this project's storage."""
    return set(podman("images", "--format", "{{.Repository}}:{{.Tag}}").split())


@contextmanager
def service() -> Iterator[str]:
    """Serve the Docker API on a socket within the context; yields its address for `DOCKER_HOST`."""
    path = HOME / "docker.sock"
    path.unlink(missing_ok=True)
    argv = ["podman", "system", "service", "--time=0", f"unix://{path}"]
    # In HOME, since Podman leaves a file `oom` behind when a container runs out of memory.
    server = subprocess.Popen(argv, cwd=HOME, env=environment(), stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if path.exists():
                break
            time.sleep(0.1)
        yield f"unix://{path}"
    finally:
        server.terminate()
        server.wait(20)


def purge() -> None:
    """Remove all containers and images from this project's storage, and the storage itself."""
    if shutil.which("podman") and HOME.exists():
        subprocess.run(["podman", "system", "reset", "--force"], env=environment(),
                       capture_output=True)  # fmt: skip
    shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    command = {"install": install, "installable": installable, "purge": purge}[sys.argv[1]]
    sys.exit(command() is False)
