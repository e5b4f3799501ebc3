"""One shape for every error the API answers: {error, message, details}."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from target_app import documents
from target_app.agent.llm import LLMError
from target_app.sandbox.paths import PathBlockedError, PathRefusedError
from target_app.sandbox.result import Block
from target_app.services import Services
from target_app.text import readable

_ANSWERS: dict[type[Exception], tuple[int, str]] = {
    documents.NoSuchDocumentError: (404, "NOT_FOUND"),
    documents.DocumentExistsError: (409, "ALREADY_EXISTS"),
    documents.NotADocumentError: (400, "NOT_A_DOCUMENT"),
    documents.NotTextError: (400, "NOT_TEXT"),
    documents.DocumentTooLargeError: (413, "FILE_TOO_LARGE"),
    documents.DocumentChangedError: (412, "PRECONDITION_FAILED"),
    documents.BadNameError: (400, "BAD_NAME"),
    documents.AccessDeniedError: (403, "ACCESS_DENIED"),
    documents.StorageFullError: (507, "STORAGE_FULL"),
    documents.FolderBusyError: (503, "FOLDER_BUSY"),
    documents.DataRootGoneError: (503, "DATA_ROOT_GONE"),
    PathBlockedError: (403, "PATH_TRAVERSAL"),
    PathRefusedError: (400, "NOT_A_DOCUMENT"),
}
"""What each error of the domain is in HTTP; its message is made for the caller to read."""

_BLOCKS: dict[type[Exception], Block] = {
    PathBlockedError: "path_traversal",
    documents.DocumentTooLargeError: "file_too_large",
}


CLIENT_CLOSED_REQUEST = 499
"""Nobody is there to read it; it keeps the log of a proxy honest."""

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


class ErrorBody(BaseModel):
    """An error. `error` is a word for programs, `message` a sentence for people."""

    error: str
    message: str
    details: dict[str, Any]


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the errors a route can answer, for its documentation."""
    return {
        status: {"model": ErrorBody, "description": HTTPStatus(status).phrase}
        for status in statuses
    }


def envelope(
    status: int,
    error: str,
    message: str,
    details: dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Make an error answer."""
    body = {"error": error, "message": readable(message), "details": details or {}}
    return JSONResponse(body, status_code=status, headers=headers)


def handle_errors(app: FastAPI) -> None:
    """Give every error of the app the one shape."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(LLMError, _llm_failed)
    app.add_exception_handler(documents.DocumentError, _told)
    app.add_exception_handler(PathBlockedError, _told)
    app.add_exception_handler(PathRefusedError, _told)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _failed)


def llm_details(error: Exception) -> dict[str, Any]:
    """Say what kind of failure of the LLM it was."""
    if not isinstance(error, LLMError):
        return {}
    return {"kind": error.kind} | ({} if error.status is None else {"status": error.status})


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    faults = error.errors() if isinstance(error, RequestValidationError) else ()
    # The input itself is left out: it can be large, and nobody needs it told back.
    details = {
        ".".join(map(str, fault["loc"])): fault["msg"].removeprefix("Value error, ")
        for fault in faults
    }
    return envelope(422, "VALIDATION_ERROR", "the request is not valid", details)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    refusal = error if isinstance(error, HTTPException) else HTTPException(500)
    # The name that the library gives to 413 depends on its version.
    status = refusal.status_code
    name = "BODY_TOO_LARGE" if status == 413 else HTTPStatus(status).name
    headers = {"Allow": _allowed(request)} if status == 405 else refusal.headers
    return envelope(status, name, refusal.detail, headers=headers)


def _allowed(request: Request) -> str:
    """Name all methods of a path. The router knows only those of the first route it meets."""
    scope = {key: request.scope.get(key, "") for key in ("type", "path", "root_path")}
    app: FastAPI = request.app
    return ", ".join(
        method
        for method in METHODS
        if any(
            route.matches({**scope, "method": method, "headers": []})[0] is Match.FULL
            for route in app.routes
        )
    )


async def _told(request: Request, error: Exception) -> JSONResponse:
    block = _BLOCKS.get(type(error))
    if block is not None:
        cast("Services", request.app.state.services).telemetry.blocked(block)
    status, name = _ANSWERS[type(error)]
    return envelope(status, name, str(error))


async def _llm_failed(_: Request, error: Exception) -> JSONResponse:
    return envelope(502, "LLM_ERROR", str(error), llm_details(error))


async def _left(_: Request, __: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return failure()


def failure() -> JSONResponse:
    """Make the answer to an exception that nothing expected."""
    return envelope(500, "INTERNAL_ERROR", "the app failed; its log says why")
