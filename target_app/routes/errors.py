"""One shape for every error the API answers: {error, message, details}."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from target_app.agent.llm import LLMError


def envelope(
    status: int, error: str, message: str, details: dict[str, Any] | None = None
) -> JSONResponse:
    """Make an error answer. `error` is a word for programs, `message` a sentence for people."""
    body = {"error": error, "message": message, "details": details or {}}
    return JSONResponse(body, status_code=status)


def handle_errors(app: FastAPI) -> None:
    """Give every error of the app the one shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(LLMError, _llm_failed)
    app.add_exception_handler(Exception, _failed)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    # The input itself is left out: it can be large, and nobody needs it told back.
    details = {".".join(map(str, fault["loc"])): fault["msg"] for fault in faults}
    return envelope(422, "VALIDATION_ERROR", "the request is not valid", details)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    phrase = HTTPStatus(status)
    return envelope(status, phrase.name, phrase.phrase)


async def _llm_failed(_: Request, error: Exception) -> JSONResponse:
    return envelope(502, "LLM_ERROR", str(error), llm_details(error))


def llm_details(error: Exception) -> dict[str, Any]:
    """Say what kind of failure of the LLM it was."""
    if not isinstance(error, LLMError):
        return {}
    return {"kind": error.kind} | ({} if error.status is None else {"status": error.status})


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return envelope(500, "INTERNAL_ERROR", "the app failed; its log says why")
