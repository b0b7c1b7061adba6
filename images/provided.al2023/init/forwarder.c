#define _GNU_SOURCE
#include "forwarder.h"
#include "../../native/unix-socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 65536
#define MAX_CONNECTIONS 256

struct direction {
  int from, to;
  size_t start, end;
  int read_closed, write_closed;
  char bytes[BUFFER];
};

struct connection {
  int client, node;
  /* How much of the request line of `next` the client's bytes match so far. */
  size_t matched;
  struct direction up, down;
};

static struct connection *connections[MAX_CONNECTIONS];
static int count;
static int listener = -1;
static const char *node_path;
static int saw_next;

static const char next_path[] = "/runtime/invocation/next";

int forwarder_saw_next(void) { return saw_next; }

int forwarder_listen(int port, const char *socket_path) {
  node_path = socket_path;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  int on = 1;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0) return -1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0 ||
      getsockname(listener, (struct sockaddr *)&address, &length) != 0)
    return -1;
  return ntohs(address.sin_port);
}

static void open_connection(void) {
  int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (client < 0) return;
  int node = connect_unix(node_path);
  struct connection *made = node < 0 ? NULL : calloc(1, sizeof *made);
  if (!made) {
    if (node >= 0) close(node);
    close(client);
    return;
  }
  int on = 1;
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(node, F_SETFL, O_NONBLOCK);
  made->client = made->up.from = made->down.to = client;
  made->node = made->up.to = made->down.from = node;
  connections[count++] = made;
}

static void close_connection(int index) {
  close(connections[index]->client);
  close(connections[index]->node);
  free(connections[index]);
  connections[index] = connections[--count];
}

static void look_for_next(struct connection *connection, const char *bytes, size_t length) {
  for (size_t i = 0; i < length && !saw_next; i++) {
    if (bytes[i] == next_path[connection->matched]) connection->matched++;
    else connection->matched = bytes[i] == next_path[0];
    if (connection->matched == sizeof next_path - 1) saw_next = 1;
  }
}

static int blocked(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

/* Moves what goes without waiting. Returns -1 when the connection is broken. */
static int move(struct direction *direction, struct connection *watched) {
  for (;;) {
    while (direction->start < direction->end) {
      ssize_t sent = send(direction->to, direction->bytes + direction->start, direction->end - direction->start, MSG_NOSIGNAL);
      if (sent < 0) return blocked() ? 0 : -1;
      direction->start += (size_t)sent;
    }
    direction->start = direction->end = 0;
    if (direction->read_closed) {
      if (!direction->write_closed) shutdown(direction->to, SHUT_WR);
      direction->write_closed = 1;
      return 0;
    }
    ssize_t got = recv(direction->from, direction->bytes, sizeof direction->bytes, 0);
    if (got < 0) return blocked() ? 0 : -1;
    if (got == 0) direction->read_closed = 1;
    else if (watched && !saw_next) look_for_next(watched, direction->bytes, (size_t)got);
    direction->end = got > 0 ? (size_t)got : 0;
  }
}

static short wanted(const struct direction *in, const struct direction *out) {
  short events = 0;
  if (in->start == in->end && !in->read_closed) events |= POLLIN;
  if (out->start < out->end) events |= POLLOUT;
  return events;
}

int forwarder_turn(int other_fd, int timeout_ms) {
  struct pollfd fds[2 + 2 * MAX_CONNECTIONS];
  int polled = count;
  fds[0] = (struct pollfd){.fd = other_fd, .events = POLLIN};
  fds[1] = (struct pollfd){.fd = count < MAX_CONNECTIONS ? listener : -1, .events = POLLIN};
  for (int i = 0; i < polled; i++) {
    struct connection *c = connections[i];
    short client = wanted(&c->up, &c->down), node = wanted(&c->down, &c->up);
    /* Who is not asked for anything is not polled: its hang-up would be reported again and again. */
    fds[2 + 2 * i] = (struct pollfd){.fd = client ? c->client : -1, .events = client};
    fds[3 + 2 * i] = (struct pollfd){.fd = node ? c->node : -1, .events = node};
  }
  if (poll(fds, (nfds_t)(2 + 2 * polled), timeout_ms) < 0) return 0;
  /* From the last: closing moves the last connection into the gap. */
  for (int i = polled - 1; i >= 0; i--) {
    struct connection *c = connections[i];
    if (!fds[2 + 2 * i].revents && !fds[3 + 2 * i].revents) continue;
    if (move(&c->up, c) != 0 || move(&c->down, NULL) != 0 || (c->up.write_closed && c->down.write_closed))
      close_connection(i);
  }
  if (fds[1].revents) open_connection();
  return fds[0].revents ? 1 : 0;
}

static long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void forwarder_flush(int timeout_ms) {
  close(listener);
  listener = -1;
  long until = now_ms() + timeout_ms;
  while (count > 0 && now_ms() < until) forwarder_turn(-1, (int)(until - now_ms()));
}
