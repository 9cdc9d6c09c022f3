"""Builds the images with podman or docker: `python scripts/images.py [data train airflow mlflow]`.

With podman and no network of images the base is made from the Debian archive, and the builds see
the pip settings of this machine (index, certificate, local folders), mounted and never copied.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from podman import HOME, ROOT, environment, images, install, podman

TARGETS = ("data", "train", "airflow", "mlflow")
BASE = "localhost/longtail-debian:latest"
INCLUDE = "python3,python3-venv,ca-certificates"
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")


def image(target: str) -> str:
    return f"localhost/longtail-{target}:latest"


def make_base() -> None:
    """A small Debian with Python, from the archive that this machine's apt uses."""
    if BASE in images():
        return
    archive = HOME / "base.tar"
    left_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDE}", *left_out,
         "bookworm", str(archive)],
        check=True,
    )  # fmt: skip
    podman("import", str(archive), BASE)
    archive.unlink()


def pip_settings() -> dict[str, str]:
    """This machine's pip settings, the environment's over the files', without its cache."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True,
                          text=True, check=True)  # fmt: skip
    found: dict[str, str] = {}
    for line in sorted(done.stdout.splitlines(), key=lambda text: text.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return found


def local_paths(settings: dict[str, str]) -> set[Path]:
    """Folders and files that the settings name; the build has to see them too."""
    words = [word for value in settings.values() for word in value.split()]
    paths = [Path(urlsplit(word).path if word.startswith("file://") else word) for word in words
             if word.startswith(("/", "file://"))]  # fmt: skip
    # `…/simple` of a local index points to files beside it.
    return {path.parent if path.name == "simple" else path for path in paths if path.exists()}


def pip_mounts(folder: Path) -> list[str]:
    """`-v` words that show a build the pip settings of this machine."""
    settings = pip_settings()
    mounts = local_paths(settings)
    certificate = Path(settings.get("cert") or os.environ.get("SSL_CERT_FILE", ""))
    if certificate.is_file():
        settings["cert"] = str(certificate)
        mounts.add(certificate)
    lines = [f"{name} = {value.replace(chr(10), ' ')}" for name, value in settings.items()]
    (folder / "pip.conf").write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
    pairs = [f"{folder}/pip.conf:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in mounts)]
    return [word for pair in pairs for word in ("-v", pair)]


def build(target: str, engine: str) -> float:
    """Build one target; seconds taken."""
    started = time.monotonic()
    words = ["build", "--target", target, "--tag", image(target), "--file", "docker/Dockerfile"]
    with tempfile.TemporaryDirectory() as folder:
        if engine == "podman":
            base = os.environ.get("BASE_IMAGE", BASE)
            words += ["--network=host", "--pull=never", "--format=docker", "--layers",
                      "--build-arg", f"BASE={base}", *pip_mounts(Path(folder))]  # fmt: skip
        elif "BASE_IMAGE" in os.environ:
            words += ["--build-arg", f"BASE={os.environ['BASE_IMAGE']}"]
        for name in ("INDEX_URL", "EXTRA_INDEX_URL", "CA_CERT"):
            words += ["--build-arg", f"{name}={os.environ[name]}"] if name in os.environ else []
        env = environment() if engine == "podman" else None
        subprocess.run([engine, *words, "."], cwd=ROOT, env=env, check=True)
    return time.monotonic() - started


def size(target: str, engine: str) -> float:
    """Size of an image in megabytes."""
    words = [engine, "image", "inspect", "--format", "{{.Size}}", image(target)]
    env = environment() if engine == "podman" else None
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1e6


def engine_here() -> str:
    """docker where its engine answers, else podman."""
    docker = shutil.which("docker")
    up = docker and not subprocess.run([docker, "info"], capture_output=True).returncode
    return "docker" if up else "podman"


if __name__ == "__main__":
    engine = engine_here()
    if engine == "podman":
        install()
        make_base()
    for target in sys.argv[1:] or TARGETS:
        seconds = build(target, engine)
        print(f"{image(target)}: {size(target, engine):,.0f} MB, built in {seconds:.0f} s")
