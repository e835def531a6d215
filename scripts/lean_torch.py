"""Installs torch for processors alone, from the ordinary package: `lean_torch.py torch==VERSION FOLDER`.

The package index has torch for Linux only as its CUDA build, which loads 3 GB of CUDA libraries that a process without
a GPU never calls, and Triton. The two small ones that it does ask (is there a GPU?) are installed; the others are
replaced by one library of a few kilobytes that has their functions, each of which says why it cannot help and aborts.
Needs gcc and binutils. Decision: docs/adr/0080.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path

GPU_PACKAGES = re.compile(r"(nvidia|cuda|triton)\b")
KEPT = "cudart,cupti"  # extras of cuda-toolkit: asked for devices, and by torch's profiler, at import
KEPT_LIBRARIES = ("libcudart", "libcupti")
FOLDERS_WITHOUT_USE = ("torch/include", "torch/share", "torch/test", "nvidia/cu13/include")
UNVERSIONED = re.compile(r"(nccl|nvshmem|cuFile|cusparseLt|cudnn)")  # functions of libraries that version none
SAYS = "this torch was installed without CUDA libraries (scripts/lean_torch.py): it runs on processors only"


def main(arguments: Sequence[str]) -> int:
    """Returns the exit status."""
    if len(arguments) != 2:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    requirement, folder = arguments[0], Path(arguments[1])
    pip(folder, "--no-deps", requirement)
    pip(folder, *needed(torch_in(folder)))
    for name in FOLDERS_WITHOUT_USE:
        shutil.rmtree(folder / name, ignore_errors=True)
    stand_in(folder)
    check(folder)
    return 0


def pip(folder: Path, *arguments: str) -> None:
    options = ["--no-cache-dir", "--no-compile", "--constraint", "constraints.txt", "--target", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments], check=True)  # noqa: S603


def check(folder: Path) -> None:
    """Raises: CalledProcessError when torch does not work as installed."""
    use = "import torch; torch.linalg.svd(torch.eye(3) @ torch.eye(3)); assert not torch.cuda.is_available()"
    subprocess.run([sys.executable, "-c", use], check=True, env={"PYTHONPATH": str(folder)})  # noqa: S603


def torch_in(folder: Path) -> Distribution:
    return next(found for found in distributions(path=[str(folder)]) if found.name == "torch")


def needed(torch: Distribution) -> list[str]:
    """What torch requires on a machine without a GPU."""
    plain, toolkit = [], ""
    for line in torch.requires or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if "extra ==" in marker:
            continue
        if requirement.startswith("cuda-toolkit["):
            toolkit = re.sub(r"\[.*\]", f"[{KEPT}]", requirement)
        elif not GPU_PACKAGES.match(requirement):
            plain.append(requirement)
    return [*plain, toolkit] if toolkit else plain


def stand_in(folder: Path) -> None:
    """Write the library that takes the place of those that were left out, under each of their names."""
    own = sorted((folder / "torch" / "lib").glob("*.so*"))
    kept = [path for name in KEPT_LIBRARIES for path in sorted(folder.glob(f"nvidia/*/lib/{name}.so.*"))]
    missing = {name for path in own for name in libraries(path)} - {path.name for path in (*own, *kept)} - system()
    absent = functions(own, kept, missing)
    if not missing:
        return
    source = folder / "no_cuda.c"
    lines = [f'void {name}(void) __attribute__((alias("no_cuda")));' for name in sorted(absent)]
    body = f'void no_cuda(void) {{ fputs("{SAYS}\\n", stderr); abort(); }}'
    source.write_text("\n".join(["#include <stdio.h>", "#include <stdlib.h>", body, *lines, ""]))
    library = folder / "torch" / "lib" / "libno_cuda.so"
    options = ["-shared", "-fPIC", "-w", "-fno-builtin", "-o", str(library)]
    subprocess.run(["gcc", *options, str(source)], check=True)  # noqa: S603, S607  # from the image's own PATH
    source.unlink()
    for name in missing:
        library.with_name(name).symlink_to(library.name)


def functions(own: Iterable[Path], kept: Iterable[Path], missing: set[str]) -> set[str]:
    """Names that torch takes from the missing libraries: by their versions, which only those have, or by their form."""
    versions = {version for path in own for version in versions_of(path, missing)}
    defined = {name for path in (*own, *kept) for name, _ in symbols(path, "--defined-only")}
    wanted = {each for path in own for each in symbols(path, "--undefined-only")}
    return {
        name
        for name, version in wanted
        if name not in defined and (version in versions if version else UNVERSIONED.match(name))
    }


def symbols(path: Path, which: str) -> set[tuple[str, str]]:
    """(name, version or "") of a library's dynamic symbols."""
    lines = read("nm", "--dynamic", "--with-symbol-versions", which, str(path)).splitlines()
    split = [line.split()[-1].partition("@") for line in lines if line.strip()]
    return {(name, version.lstrip("@")) for name, _, version in split}


def libraries(path: Path) -> set[str]:
    return set(re.findall(r"^\s+NEEDED\s+(\S+)", read("objdump", "-p", str(path)), re.MULTILINE))


def versions_of(path: Path, names: set[str]) -> set[str]:
    """Versions that `path` requires of the libraries `names`."""
    found, name = set(), ""
    for line in read("objdump", "-p", str(path)).splitlines():
        if heading := re.match(r"\s+required from (\S+):", line):
            name = heading[1]
        elif (entry := re.match(r"\s+0x\w+ 0x\w+ \d+ (\S+)", line)) and name in names:
            found.add(entry[1])
    return found


def system() -> set[str]:
    """Libraries that the system has."""
    return set(re.findall(r"^\s+(\S+) \(", read("/sbin/ldconfig", "-p"), re.MULTILINE))


def read(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
