"""What every stage's config shares."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Config(BaseModel):
    """A table of a recipe: unknown keys are refused, values never change, each field's docstring is its help.

    TOML has no null: "none" is it, for a field that may be.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _none(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        fields = cls.model_fields
        empty = {
            key
            for key, value in given.items()
            if value == "none" and key in fields and type(None) in get_args(fields[key].annotation)
        }
        return {key: None if key in empty else value for key, value in given.items()}


class StageConfig(Config):
    """A stage's table of a recipe."""

    seed: int = Field(default=0, ge=0, lt=2**63)
    """Seed of everything random in this stage; a recipe's top-level `seed` is the default of all stages."""
    num_threads: int | None = Field(default=None, ge=1, le=4096)
    """Threads to use; none means all cores. Data stages give the same result on any number."""
