/**
 * What an instance, always a client, says over its own Unix socket (`/run/forkyard/api.sock` inside the sandbox; HTTP/1.1).
 *
 * 1. `GET /forkyard/v1/assignment` (long poll): answered once the instance is given to a revision and its code is mounted on
 *    `/var/task`. With `?format=environ`: only the environment, NUL-separated, for runtimes that parse no JSON.
 * 2. `POST /forkyard/v1/checkpoint`, only from a sandbox that is to be saved: `{"refused"?, "warnings"}`; then it waits to be saved.
 *
 * 3. AWS Lambda Runtime API, `/2018-06-01/runtime/...`: `invocation/next`, `invocation/:id/response`, `invocation/:id/error`,
 *    `init/error`. `next` may carry `Forkyard-Handler-Kind: lambda | fetch | cloudevent` (default lambda).
 *
 * To `fetch` and `cloudevent` instances, function URL requests come as `Content-Type: application/vnd.forkyard.http-request`:
 * an `HttpPrelude`, 8 NUL bytes, the raw body, streamed. Their answers, and Lambda streaming answers that set status or headers,
 * are `Content-Type: application/vnd.awslambda.http-integration-response`: `{statusCode, headers, cookies}`, 8 NUL bytes, the
 * body, streamed, with `Lambda-Runtime-Function-Response-Mode: streaming`. To `lambda` instances they come as payload 2.0 events.
 */
import { Type, type Static } from 'typebox'
import { startTypes } from './placement.ts'

export const httpRequestType = 'application/vnd.forkyard.http-request'
export const httpResponseType = 'application/vnd.awslambda.http-integration-response'

/** Of each fork of a seed. */
export const ForkLimits = Type.Object({
  memoryMiB: Type.Integer(),
  /** Processes and threads. */
  processes: Type.Integer(),
  /** Size of a `/tmp` of its own; 0: that of the seed. */
  tmpMiB: Type.Integer(),
})
export type ForkLimits = Static<typeof ForkLimits>

export const Assignment = Type.Object({
  instanceId: Type.String(),
  /** AWS_LAMBDA_*, _HANDLER, LAMBDA_TASK_ROOT and the function's own. */
  environment: Type.Record(Type.String(), Type.String()),
  handler: Type.String(),
  /** How many `next` polls to keep open. */
  concurrency: Type.Integer(),
  startType: Type.Enum(startTypes),
  /** Fresh randomness from the host (32 bytes, base64), mixed into the clone's generators before any user code runs. */
  entropy: Type.String(),
  /** Load the function and serve nothing: be forked. */
  seed: Type.Optional(ForkLimits),
  /** Of a sandbox that is to be saved once the function is initialised: it pulls nothing. */
  checkpoint: Type.Optional(
    Type.Object({
      /** Variables of the function that are not in `environment`. Whoever reads one before it is saved is not saved. */
      withheld: Type.Array(Type.String()),
    }),
  ),
  /** Of a clone that is only tested: it serves the runtime's own probe, and nothing of the function's runs. */
  probe: Type.Optional(Type.Boolean()),
})
export type Assignment = Static<typeof Assignment>
