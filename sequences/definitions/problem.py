"""What is wrong with a set of definitions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault; `where` is "<kind>/<name>"."""

    where: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"
