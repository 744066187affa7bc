/* The connection to the bus: environment variables, trace and frames. */
#define _GNU_SOURCE
#include "webtoki-usb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

const char *bus_socket(void) { return getenv("WEBTOKI_USB_SOCKET"); }

const char *bus_root(void) { return getenv("WEBTOKI_USB_ROOT"); }

/* Uses a system call, because the replaced `close` searches the open files and Chromium's checks the owner. */
int real_close(int fd) { return (int)syscall(SYS_close, fd); }

void trace(const char *format, ...) {
  static int fd = -2;
  if (fd == -2) {
    const char *name = getenv("WEBTOKI_USB_TRACE");
    const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
    fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, flags, 0600) : -1;
  }
  if (fd < 0) return;
  const int saved = errno;
  char line[1024];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(line, sizeof line, "%ld.%06ld %d ", (long)now.tv_sec, now.tv_nsec / 1000, getpid());
  va_list arguments;
  va_start(arguments, format);
  length += vsnprintf(line + length, sizeof line - (size_t)length - 1, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length++] = '\n';
  (void)!write(fd, line, (size_t)length);
  errno = saved;
}

static bool read_fully(int fd, void *into, size_t bytes) {
  for (char *at = into; bytes > 0;) {
    const ssize_t got = recv(fd, at, bytes, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    bytes -= (size_t)got;
  }
  return true;
}

static bool write_fully(int fd, const void *from, size_t bytes) {
  for (const char *at = from; bytes > 0;) {
    /* Without MSG_NOSIGNAL, the end of the bus would kill the program with SIGPIPE. */
    const ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    at += sent;
    bytes -= (size_t)sent;
  }
  return true;
}

int send_frame(int fd, char type, uint32_t id, const void *head, size_t head_bytes, const void *body,
               size_t body_bytes) {
  const size_t payload = head_bytes + body_bytes;
  if (payload > MAX_FRAME_BYTES) return -1;
  const uint32_t length = (uint32_t)(5 + payload);
  uint8_t *bytes = malloc(4 + (size_t)length);
  if (!bytes) return -1;
  memcpy(bytes, &length, 4);
  bytes[4] = (uint8_t)type;
  memcpy(bytes + 5, &id, 4);
  if (head_bytes) memcpy(bytes + 9, head, head_bytes);
  if (body_bytes) memcpy(bytes + 9 + head_bytes, body, body_bytes);
  const bool sent = write_fully(fd, bytes, 4 + (size_t)length);
  free(bytes);
  return sent ? 0 : -1;
}

bool receive_frame(int fd, struct frame *frame) {
  uint32_t length;
  uint8_t head[5];
  if (!read_fully(fd, &length, 4) || length < 5 || length - 5 > MAX_FRAME_BYTES) return false;
  if (!read_fully(fd, head, 5)) return false;
  frame->type = (char)head[0];
  memcpy(&frame->id, head + 1, 4);
  frame->length = length - 5;
  frame->payload = malloc((size_t)frame->length + 1);
  if (!frame->payload) return false;
  if (!read_fully(fd, frame->payload, frame->length)) {
    free(frame->payload);
    return false;
  }
  frame->payload[frame->length] = 0;
  return true;
}

int bus_connect(void) {
  const char *path = bus_socket();
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (!path || strlen(path) >= sizeof address.sun_path) {
    errno = ENOENT;
    return -1;
  }
  strcpy(address.sun_path, path);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    const int why = errno;
    real_close(fd);
    errno = why;
    return -1;
  }
  return fd;
}
