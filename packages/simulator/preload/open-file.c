/* Implements open device files. Each is a socket pair that becomes writable when usbfs would signal EPOLLOUT. */
#define _GNU_SOURCE
#include "open-file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The open files by descriptor number. The table has no lock, because close() can be called in a child process between
 * fork and exec, where a lock held by another thread of the parent would never be released.
 */
enum { MAX_DESCRIPTORS = 65536 };
static _Atomic(struct open_file *) table[MAX_DESCRIPTORS];

static struct open_file *entry_of(int fd) {
  if (fd < 0 || fd >= MAX_DESCRIPTORS) return NULL;
  struct open_file *file = atomic_load_explicit(&table[fd], memory_order_acquire);
  if (!file || file->pid != getpid()) return NULL;
  struct stat identity;
  if (fstat(fd, &identity) != 0 || identity.st_ino != file->inode || identity.st_dev != file->device) return NULL;
  return file;
}

struct open_file *find_open_file(int fd) { return entry_of(fd); }

/*
 * usbfs signals completed transfers with EPOLLOUT, and a disconnected device with EPOLLERR and EPOLLHUP. A Unix socket
 * is not writable while its buffer is more than a quarter full, and gets an error when the other end closes with unread
 * bytes. Therefore one byte always stays unread at the other end, and a filler before it is added and removed.
 */
enum { SEND_BUFFER_BYTES = 8192, FILLER_BYTES = 8000, UNREAD_BYTES = 1 };

/* Linux's HID_MAX_BUFFER_SIZE is 16384. Reports of tokens are much shorter. */
enum { MAX_REPORT_BYTES = 8192 };

void make_unwritable(struct open_file *file) {
  static const char filler[FILLER_BYTES];
  if (!file->is_writable || file->is_gone) return;
  file->is_writable = false;
  (void)!send(file->program_fd, filler, FILLER_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)!send(file->program_fd, filler, UNREAD_BYTES, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void make_writable(struct open_file *file) {
  char dropped[FILLER_BYTES + UNREAD_BYTES];
  if (file->is_writable || file->is_gone) return;
  file->is_writable = true;
  (void)!recv(file->wake_fd, dropped, sizeof dropped, MSG_DONTWAIT);
}

int send_to_bus(struct open_file *file, char type, uint32_t id, const void *head, size_t head_bytes,
                const void *body, size_t body_bytes) {
  pthread_mutex_lock(&file->write_lock);
  const int sent = send_frame(file->bus_fd, type, id, head, head_bytes, body, body_bytes);
  pthread_mutex_unlock(&file->write_lock);
  return sent;
}

static void finish(struct open_file *file, struct transfer *transfer) {
  transfer->is_done = true;
  transfer->next = NULL;
  if (transfer->is_own) return;
  *file->done_end = transfer;
  file->done_end = &transfer->next;
}

static void completed(struct open_file *file, struct frame *frame) {
  if (frame->length < 8) return;
  struct transfer **at = &file->pending;
  while (*at && (*at)->id != frame->id) at = &(*at)->next;
  struct transfer *transfer = *at;
  if (!transfer) return;
  *at = transfer->next;
  memcpy(&transfer->status, frame->payload, 4);
  memcpy(&transfer->actual_bytes, frame->payload + 4, 4);
  transfer->data_bytes = frame->length - 8;
  memmove(frame->payload, frame->payload + 8, transfer->data_bytes);
  transfer->data = frame->payload;
  frame->payload = NULL;
  finish(file, transfer);
  pthread_cond_broadcast(&file->changed);
  if (file->done) make_writable(file);
}

static void response_received(struct open_file *file, struct frame *frame) {
  if (frame->length < 4) return;
  struct request **at = &file->requests;
  while (*at && (*at)->id != frame->id) at = &(*at)->next;
  struct request *request = *at;
  if (!request) return;
  *at = request->next;
  memcpy(&request->result, frame->payload, 4);
  request->data_bytes = frame->length - 4;
  memmove(frame->payload, frame->payload + 4, request->data_bytes);
  request->data = frame->payload;
  frame->payload = NULL;
  request->is_done = true;
  pthread_cond_broadcast(&file->changed);
}

/* Called when the device is unplugged or the bus ends. Pending transfers end as in the kernel. */
static void device_gone(struct open_file *file) {
  trace("fd %d: device gone", file->program_fd);
  pthread_mutex_lock(&file->lock);
  file->is_gone = true;
  while (file->pending) {
    struct transfer *transfer = file->pending;
    file->pending = transfer->next;
    transfer->status = -ESHUTDOWN;
    finish(file, transfer);
  }
  pthread_cond_broadcast(&file->changed);
  pthread_mutex_unlock(&file->lock);
}

/* Forwards a report that the program wrote. It begins with the report ID, or 0 if reports are not numbered. */
static void send_report(struct open_file *file) {
  uint8_t report[MAX_REPORT_BYTES];
  const ssize_t bytes = recv(file->wake_fd, report, sizeof report, MSG_DONTWAIT);
  if (bytes > 0) send_to_bus(file, 'W', 0, report, (size_t)bytes, NULL, 0);
}

static void *serve(void *argument) {
  struct open_file *file = argument;
  for (;;) {
    const short own = file->is_hid ? POLLIN : 0;
    struct pollfd ends[2] = {{.fd = file->bus_fd, .events = POLLIN}, {.fd = file->wake_fd, .events = own}};
    if (poll(ends, 2, -1) < 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (ends[1].revents & POLLIN) send_report(file);
    else if (ends[1].revents & (POLLHUP | POLLERR)) break;
    if (!ends[0].revents) continue;
    struct frame frame;
    if (!receive_frame(file->bus_fd, &frame)) {
      device_gone(file);
      break;
    }
    pthread_mutex_lock(&file->lock);
    if (frame.type == 'c') completed(file, &frame);
    else if (frame.type == 'r') response_received(file, &frame);
    else if (frame.type == 'i') (void)!send(file->wake_fd, frame.payload, frame.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    pthread_mutex_unlock(&file->lock);
    free(frame.payload);
  }
  trace("fd %d: served to its end", file->program_fd);
  /* Wakes up threads that wait in an ioctl of a descriptor that was closed in the meantime. */
  if (!file->is_gone) device_gone(file);
  pthread_mutex_lock(&file->write_lock);
  real_close(file->bus_fd);
  file->bus_fd = -1;
  pthread_mutex_unlock(&file->write_lock);
  /* A program would take an empty read for a report, so reads of a disconnected hidraw file block and writes fail. */
  if (file->is_hid) shutdown(file->wake_fd, SHUT_RD);
  else real_close(file->wake_fd);
  /* The record is not freed, because an ioctl in another thread may still use it. It is small. */
  return NULL;
}

static bool start_serving(struct open_file *file) {
  /* Signals must be delivered to the program's own threads only. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, NULL, serve, file) == 0;
  if (started) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return started;
}

static int connect_to_device(const char *path) {
  const int fd = bus_connect();
  if (fd < 0) {
    errno = ENODEV;
    return -1;
  }
  struct frame response;
  int32_t result = -ENODEV;
  if (send_frame(fd, 'O', 0, path, strlen(path), NULL, 0) == 0 && receive_frame(fd, &response)) {
    if (response.type == 'o' && response.length >= 4) memcpy(&result, response.payload, 4);
    free(response.payload);
  }
  if (result == 0) return fd;
  real_close(fd);
  errno = -result;
  return -1;
}

int open_device_file(const char *path) {
  const int bus_fd = connect_to_device(path);
  if (bus_fd < 0) {
    trace("open %s: errno %d", path, errno);
    return -1;
  }
  int ends[2];
  struct open_file *file = calloc(1, sizeof *file);
  const bool is_hid = strncmp(path, "/dev/hidraw", 11) == 0;
  if (!file || socketpair(AF_UNIX, (is_hid ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0, ends) != 0) {
    free(file);
    real_close(bus_fd);
    errno = ENOMEM;
    return -1;
  }
  file->program_fd = ends[0];
  file->wake_fd = ends[1];
  file->bus_fd = bus_fd;
  file->pid = getpid();
  file->done_end = &file->done;
  file->is_hid = is_hid;
  file->is_writable = true;
  pthread_mutex_init(&file->lock, NULL);
  pthread_mutex_init(&file->write_lock, NULL);
  pthread_cond_init(&file->changed, NULL);
  if (!is_hid) {
    const int size = SEND_BUFFER_BYTES;
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    (void)!send(ends[0], "", UNREAD_BYTES, MSG_NOSIGNAL);
    make_unwritable(file);
  }
  struct stat identity;
  const bool is_known = fstat(ends[0], &identity) == 0 && ends[0] < MAX_DESCRIPTORS;
  if (!is_known || (file->inode = identity.st_ino, file->device = identity.st_dev, !start_serving(file))) {
    real_close(ends[0]);
    real_close(ends[1]);
    real_close(bus_fd);
    free(file);
    errno = ENFILE;
    return -1;
  }
  atomic_store_explicit(&table[ends[0]], file, memory_order_release);
  trace("open %s: fd %d", path, ends[0]);
  return ends[0];
}

int request_bus_with_data(struct open_file *file, char type, const void *head, size_t head_bytes, const void *body,
                          size_t body_bytes, void *into, size_t into_bytes) {
  struct request request = {0};
  pthread_mutex_lock(&file->lock);
  if (file->is_gone) {
    pthread_mutex_unlock(&file->lock);
    errno = ENODEV;
    return -1;
  }
  request.id = ++file->last_id;
  request.next = file->requests;
  file->requests = &request;
  pthread_mutex_unlock(&file->lock);
  send_to_bus(file, type, request.id, head, head_bytes, body, body_bytes);
  pthread_mutex_lock(&file->lock);
  while (!request.is_done && !file->is_gone) pthread_cond_wait(&file->changed, &file->lock);
  if (!request.is_done) {
    for (struct request **at = &file->requests; *at; at = &(*at)->next) {
      if (*at != &request) continue;
      *at = request.next;
      break;
    }
    request.result = -ENODEV;
  }
  pthread_mutex_unlock(&file->lock);
  if (request.data_bytes < into_bytes) into_bytes = request.data_bytes;
  if (into_bytes) memcpy(into, request.data, into_bytes);
  free(request.data);
  if (request.result >= 0) return request.result;
  errno = -request.result;
  return -1;
}

int request_bus(struct open_file *file, enum operation operation, int32_t first, int32_t second) {
  const int32_t words[3] = {(int32_t)operation, first, second};
  const int result = request_bus_with_data(file, 'R', words, sizeof words, NULL, 0, NULL, 0);
  trace("fd %d operation %d (%d, %d): %d", file->program_fd, operation, first, second, result);
  return result;
}

void close_open_file(int fd) {
  if (fd < 0 || fd >= MAX_DESCRIPTORS || !atomic_load_explicit(&table[fd], memory_order_acquire)) return;
  const int saved = errno;
  struct open_file *file = entry_of(fd);
  if (file && atomic_exchange(&table[fd], NULL) == file) request_bus(file, OPERATION_CLOSE, 0, 0);
  errno = saved;
}
