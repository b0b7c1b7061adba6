#define _GNU_SOURCE
#include "node.h"

#include "../../native/unix-socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REPLY (4 * 1024 * 1024)

/* The end of the connection is the end of the reply, since it asks for that. Returns the reply, NUL-terminated; NULL with errno. */
static char *exchange(const char *socket_path, const char *head, const char *body, size_t *length) {
  int fd = connect_unix(socket_path);
  if (fd < 0) return NULL;
  char *reply = NULL;
  size_t used = 0, room = 0;
  if (send_all(fd, head, strlen(head)) != 0 || send_all(fd, body, strlen(body)) != 0) goto fail;
  for (;;) {
    if (room - used < 4096) {
      room = room ? room * 2 : 16384;
      char *larger = room <= MAX_REPLY ? realloc(reply, room + 1) : NULL;
      if (!larger) {
        errno = EMSGSIZE;
        goto fail;
      }
      reply = larger;
    }
    ssize_t got = recv(fd, reply + used, room - used, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) goto fail;
    if (got == 0) break;
    used += (size_t)got;
  }
  close(fd);
  reply[used] = '\0';
  *length = used;
  return reply;
fail:;
  int failure = errno;
  close(fd);
  free(reply);
  errno = failure;
  return NULL;
}

char *node_assignment(const char *socket_path, size_t *length) {
  char *reply = exchange(
      socket_path,
      "GET /forkyard/v1/assignment?format=environ HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n", "", length);
  if (!reply) return NULL;
  char *body = memmem(reply, *length, "\r\n\r\n", 4);
  if (strncmp(reply, "HTTP/1.1 200 ", 13) != 0 || !body) {
    errno = EPROTO;
    return NULL;
  }
  *body = '\0';
  /* HTTP/1.1 replies of Node.js have a length, unless a server streams them; this one does not. */
  char *declared = strcasestr(reply, "\r\ncontent-length:");
  body += 4;
  *length -= (size_t)(body - reply);
  if (!declared || strtoul(declared + 17, NULL, 10) != *length || (*length > 0 && body[*length - 1] != '\0')) {
    errno = EPROTO;
    return NULL;
  }
  return body;
}

static void append_json(char *target, size_t room, const char *text) {
  size_t at = strlen(target);
  for (; *text && at + 7 < room; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') at += (size_t)snprintf(target + at, room - at, "\\%c", c);
    else if (c < 0x20) at += (size_t)snprintf(target + at, room - at, "\\u%04x", c);
    else {
      target[at++] = (char)c;
      target[at] = '\0';
    }
  }
}

void node_init_failed(const char *socket_path, const char *type, const char *message) {
  char body[2048] = "{\"errorType\":\"", head[512];
  append_json(body, sizeof body, type);
  strcat(body, "\",\"errorMessage\":\"");
  append_json(body, sizeof body - 8, message);
  strcat(body, "\"}");
  snprintf(head, sizeof head,
           "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: node\r\nConnection: close\r\n"
           "Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: %s\r\nContent-Length: %zu\r\n\r\n",
           type, strlen(body));
  size_t length;
  free(exchange(socket_path, head, body, &length));
}
