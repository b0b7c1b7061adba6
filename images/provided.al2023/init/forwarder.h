/*
 * Forwards connections to a loopback TCP port to the instance's Unix socket, byte for byte: runtimes only speak TCP. One thread,
 * one buffer each way and connection; who writes faster than the other side reads waits. Half-closed connections stay so.
 */
#ifndef FORKYARD_FORWARDER_H
#define FORKYARD_FORWARDER_H

/* Listens on 127.0.0.1. Port 0: any. Returns the port; -1 with errno. */
int forwarder_listen(int port, const char *socket_path);

/* Moves what can be moved; waits for at most `timeout_ms` (-1: for ever). Returns 1 when `other_fd` is readable, else 0. */
int forwarder_turn(int other_fd, int timeout_ms);

/* Accepts nothing more, and moves what is under way until all connections are closed or the time is over. */
void forwarder_flush(int timeout_ms);

/* Whether any client has asked for an invocation. */
int forwarder_saw_next(void);

#endif
