"""Which commit of this repository made an artefact; empty where there is no repository."""

from pathlib import Path


def current_commit(start: Path | None = None) -> str:
    """The commit that HEAD names in the repository around `start` (default: the working directory), or ""."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / ".git" / "HEAD").is_file():
            return _resolve(folder / ".git")
    return ""


def _resolve(git: Path) -> str:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref: "):
        return head
    ref = head.removeprefix("ref: ")
    if (git / ref).is_file():
        return (git / ref).read_text().strip()
    packed = git / "packed-refs"
    lines = packed.read_text().splitlines() if packed.is_file() else []
    return next((line.split()[0] for line in lines if line.endswith(f" {ref}")), "")
