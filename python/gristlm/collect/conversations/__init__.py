"""Conversations, preference pairs and prompts made from documents, by rules alone."""

from __future__ import annotations

from gristlm.collect.config import ConversationsConfig
from gristlm.collect.conversations.gathered import gather
from gristlm.collect.conversations.stage import run

__all__ = ["ConversationsConfig", "gather", "run"]
