"""``/v1/session``: the sessions of browsers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Cookie, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from humwatch_service.errors import BodyTooLarge, RequestMalformed, Unauthorised
from humwatch_service.web.access import check_own_page
from humwatch_service.web.application import service_of
from humwatch_service.web.proxies import prefix_of
from humwatch_service.web.routes.documentation import problems
from humwatch_service.web.sessions import COOKIE, SESSION_S

MAX_BODY_BYTES: Final = 4_096
"""Largest body of a request that needs no key."""

router = APIRouter(tags=["session"])


class SessionState(BaseModel):
    """Whether a browser may use the service."""

    model_config = ConfigDict(frozen=True)

    key_needed: bool = Field(description="whether the service asks for an API key")
    signed_in: bool = Field(description="whether the cookie that came is that of a session")


class SignIn(BaseModel):
    """A key for a session."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(min_length=1, max_length=1_000, description="API key")


_SIGN_IN: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": SignIn.model_json_schema()}}}
}
_Token = Annotated[str | None, Cookie(alias=COOKIE, description="of the session")]


@router.get("/v1/session", responses=problems(422))
async def session(request: Request, token: _Token = None) -> SessionState:
    """Whether a key is needed, and whether this browser is signed in."""
    service = service_of(request)
    return SessionState(key_needed=bool(service.keys), signed_in=service.sessions.knows(token))


@router.post(
    "/v1/session", status_code=204, response_class=Response, responses=problems(422, 429), openapi_extra=_SIGN_IN
)
async def sign_in(request: Request) -> Response:
    """Exchange a key for a cookie that lasts twelve hours, or until the service stops."""
    service = service_of(request)
    address = request.client.host if request.client else ""
    _check_sender(request)
    service.attempts.check(address)
    order = await _order(request)
    response = Response(status_code=204)
    if not service.keys:
        return response
    if not service.keys.know(order.key.encode("utf-8", "surrogatepass")):
        service.attempts.failed(address)
        raise Unauthorised("this API key is not known")
    service.attempts.succeeded(address)
    secure = request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")
    response.set_cookie(
        COOKIE,
        service.sessions.begin(),
        max_age=SESSION_S,
        path=_cookie_path(request),
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


@router.delete("/v1/session", status_code=204, response_class=Response, responses=problems(422))
async def sign_out(request: Request, token: _Token = None) -> Response:
    """End a session."""
    _check_sender(request)
    service_of(request).sessions.end(token)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path=_cookie_path(request), httponly=True, samesite="strict")
    return response


def _cookie_path(request: Request) -> str:
    """Return the path of the service as the browser knows it: another service may be beside it on the host."""
    return f"{prefix_of(request.scope)}/"


def _check_sender(request: Request) -> None:
    """Refuse pages of others; a program sends no origin."""
    if "sec-fetch-site" in request.headers or "origin" in request.headers:
        check_own_page(request.headers, service_of(request).settings.public_url)


async def _order(request: Request) -> SignIn:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"a key is no longer than {MAX_BODY_BYTES} bytes")
    try:
        return SignIn.model_validate_json(bytes(body))
    except ValidationError as error:
        raise RequestMalformed('send {"key": "..."} as JSON') from error
