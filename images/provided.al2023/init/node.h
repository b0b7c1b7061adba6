/* What the first process itself says to the node, over the instance's Unix socket. Blocking; nothing else runs meanwhile. */
#ifndef FORKYARD_NODE_H
#define FORKYARD_NODE_H

#include <stddef.h>

/*
 * Long poll for the assignment. Returns the environment: `length` bytes of NUL-terminated NAME=VALUE entries, never freed.
 * NULL with errno when the node does not answer as it should.
 */
char *node_assignment(const char *socket_path, size_t *length);

/* The function could not be initialised. Best effort: the exit of the sandbox tells the same. */
void node_init_failed(const char *socket_path, const char *type, const char *message);

#endif
