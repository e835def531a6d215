"""What every kind of definition has: an id, a version, an owner."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""The id of a definition, column or attribute: lower case, digits and underscores."""


class Frozen(BaseModel):
    """A value that never changes and refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Definition(Frozen):
    """One named piece of configuration, unique by (kind, name)."""

    name: Name
    version: int = Field(default=1, ge=1, description="grows with every change of meaning")
    owner: str = Field(min_length=1, max_length=64, description="team that answers for it")
    description: str = Field(default="", max_length=500)
