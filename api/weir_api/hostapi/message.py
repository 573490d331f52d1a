"""The answer that only says that something is done."""

from pydantic import BaseModel, ConfigDict


class MessageOut(BaseModel):
    """It is done, or on its way."""

    model_config = ConfigDict(extra="forbid")

    message: str
