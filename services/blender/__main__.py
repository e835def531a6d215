"""The process of blender."""

import sys

from chassis.lifecycle import run
from services.blender.config import Config
from services.blender.wiring import build

if __name__ == "__main__":
    sys.exit(run("blender", Config, build))
