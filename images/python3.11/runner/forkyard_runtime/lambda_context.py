"""One request as the runtime got it, and Lambda's context object made from it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from .connection import Reply


class CognitoIdentity:
    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __init__(self, given: dict[str, Any]) -> None:
        self.cognito_identity_id = given.get("cognitoIdentityId")
        self.cognito_identity_pool_id = given.get("cognitoIdentityPoolId")


class Client:
    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]

    def __init__(self, given: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, given.get(name))


class ClientContext:
    __slots__ = ["custom", "env", "client"]

    def __init__(self, given: dict[str, Any]) -> None:
        self.custom: dict[str, Any] | None = given.get("custom")
        self.env: dict[str, Any] | None = given.get("env")
        client = given.get("client")
        self.client = Client(client) if isinstance(client, dict) else None


class LambdaContext:
    """Every documented member. `identity` is always there, `client_context` only when the caller gave one."""

    def __init__(self, reply: Reply) -> None:
        headers, environ = reply.headers, os.environ
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id", "")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn", "")
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME", "")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self.identity = CognitoIdentity(_json_header(headers.get("lambda-runtime-cognito-identity")) or {})
        client_context = _json_header(headers.get("lambda-runtime-client-context"))
        self.client_context = None if client_context is None else ClientContext(client_context)
        self._epoch_deadline_time_in_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def __repr__(self) -> str:
        members = ",".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"LambdaContext([{members}])"


def _json_header(value: str | None) -> dict[str, Any] | None:
    """Headers carry JSON in UTF-8. What is no object says nothing that the context could show."""
    if value is None:
        return None
    given = json.loads(value.encode("latin-1").decode())
    return given if isinstance(given, dict) else None
