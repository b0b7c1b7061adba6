/* What the files of the addon share. */
#ifndef FORKYARD_HOST_CALLS_H
#define FORKYARD_HOST_CALLS_H

#include <node_api.h>

/* Throws what errno says, with the call's name; returns NULL for the caller to return. */
napi_value host_call_failed(napi_env env, const char *call);

/* Resolves with the value, or rejects with what `failed` and its errno. */
void host_call_settle(napi_env env, napi_deferred deferred, napi_value value, const char *failed, int error);

/* load-filter.c */
napi_value load_filter(napi_env env, napi_callback_info info);

/* trace-calls.c */
void add_trace_calls(napi_env env, napi_value exports);

/* network-calls.c */
void add_network_calls(napi_env env, napi_value exports);

#endif
