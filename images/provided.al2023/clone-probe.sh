#!/bin/bash
# Answers the checkpoint builder's gate: everything in which two clones of this runtime must differ.
set -euo pipefail
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"
id="$(curl -sS -o /dev/null -D - "$api/next" | sed -n 's/^lambda-runtime-aws-request-id: *\([^[:space:]]*\).*/\1/Ip')"
bytes="$(head -c 16 /dev/urandom | base64)"
name="$(mktemp -u XXXXXXXXXXXX)"
# RANDOM may repeat by chance: it has only 15 bits a number.
curl -sS -o /dev/null -X POST "$api/$id/response" --data-binary \
  "{\"urandom\":\"$bytes\",\"mktemp\":\"$name\",\"shellRandom\":\"$RANDOM-$RANDOM-$RANDOM-$SRANDOM\"}"
sleep 60
