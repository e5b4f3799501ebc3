"""The routes of chat sessions: what was said in one, and forgetting it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from target_app.routes.errors import answers, envelope
from target_app.services import App
from target_app.sessions import SESSION_ID_PATTERN

router = APIRouter(prefix="/api/chat/sessions", tags=["chat"], responses=answers(404, 422))

SessionId = Annotated[str, Path(pattern=SESSION_ID_PATTERN)]


class Said(BaseModel):
    """One message of a conversation."""

    role: str
    content: str


class History(BaseModel):
    """What was asked and answered in a session, the oldest message first."""

    session_id: str
    history: list[Said]


class Deleted(BaseModel):
    """A session that is no more."""

    message: str


@router.get("/{session_id}/history", response_model=History)
async def read_history(session_id: SessionId, app: App) -> History | JSONResponse:
    """Say what was asked and answered; looking does not keep a session from expiring."""
    messages = app.sessions.history(session_id)
    if messages is None:
        return _no_session(session_id)
    said = [Said(role=message["role"], content=message["content"]) for message in messages]
    return History(session_id=session_id, history=said)


@router.delete("/{session_id}", response_model=Deleted, responses=answers(403))
async def delete_session(session_id: SessionId, app: App) -> Deleted | JSONResponse:
    """Forget a session. What is being answered in it is answered, but not remembered."""
    if not app.sessions.delete(session_id):
        return _no_session(session_id)
    return Deleted(message="session deleted")


def _no_session(session_id: str) -> JSONResponse:
    return envelope(404, "SESSION_NOT_FOUND", f"there is no session {session_id}")
