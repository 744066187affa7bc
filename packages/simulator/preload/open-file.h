/* An open device file: one connection to the bus, its transfers, and the descriptor that the program holds. */
#ifndef OPEN_FILE_H
#define OPEN_FILE_H

#include "webtoki-usb.h"

#include <linux/usbdevice_fs.h>
#include <pthread.h>
#include <sys/types.h>

struct transfer {
  struct transfer *next;
  uint32_t id;
  struct usbdevfs_urb *urb;
  int32_t status;
  uint32_t actual_bytes;
  uint8_t *data;
  uint32_t data_bytes;
  bool is_own;  /* of a synchronous ioctl: waited for here, never reaped */
  bool is_done;
};

struct request {
  struct request *next;
  uint32_t id;
  bool is_done;
  int32_t result;
  uint8_t *data; /* what came behind the result; owned */
  uint32_t data_bytes;
};

struct open_file {
  int program_fd; /* what open() returned */
  int wake_fd;    /* its other end: by it the program's end becomes writable, or broken */
  int bus_fd;
  pid_t pid;
  dev_t device; /* identity of program_fd, for a descriptor may be closed behind our back and its number used again */
  ino_t inode;
  bool is_hid; /* /dev/hidraw: reports travel by read and write, each a packet of the socket pair */
  bool is_gone;
  bool is_writable;
  uint32_t last_id;
  pthread_mutex_t lock;
  pthread_mutex_t write_lock;
  pthread_cond_t changed;
  struct transfer *pending;
  struct transfer *done;
  struct transfer **done_end;
  struct request *requests;
};

/* Both with the lock held. */
void make_writable(struct open_file *file);
void make_unwritable(struct open_file *file);

int send_to_bus(struct open_file *file, char type, uint32_t id, const void *head, size_t head_bytes,
                const void *body, size_t body_bytes);

/* The operations of a request frame; the bus has the same list. */
enum operation {
  OPERATION_SET_CONFIGURATION = 1,
  OPERATION_CLAIM = 2,
  OPERATION_RELEASE = 3,
  OPERATION_SET_INTERFACE = 4,
  OPERATION_RESET = 5,
  OPERATION_CLEAR_HALT = 6,
  OPERATION_RESET_ENDPOINT = 7,
  OPERATION_GET_DRIVER = 8,
  OPERATION_CLOSE = 9,
};

/* Asks the bus and waits: its answer, or -1 with errno. */
int ask_bus(struct open_file *file, enum operation operation, int32_t first, int32_t second);

/* The same with a frame of another type, bytes to send, and room for what comes back: the bus's answer, or -1. */
int ask_bus_for(struct open_file *file, char type, const void *head, size_t head_bytes, const void *body,
                size_t body_bytes, void *into, size_t into_bytes);

int hidraw_ioctl(struct open_file *file, unsigned long request, void *argument);

#endif
