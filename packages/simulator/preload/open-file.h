/* Open device files: a connection to the bus, its transfers, and the program's descriptor. */
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
  bool is_own;  /* part of a synchronous ioctl, which waits for it; never reaped */
  bool is_done;
};

struct request {
  struct request *next;
  uint32_t id;
  bool is_done;
  int32_t result;
  uint8_t *data; /* the data after the result; owned */
  uint32_t data_bytes;
};

struct open_file {
  int program_fd; /* the descriptor that open() returned */
  int wake_fd;    /* the other end of the socket pair, which makes program_fd writable or broken */
  int bus_fd;
  pid_t pid;
  dev_t device; /* identity of program_fd, because a descriptor can be closed unnoticed and its number reused */
  ino_t inode;
  bool is_hid; /* a hidraw file, where each read or write is one report and one packet of the socket pair */
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

/* The caller must hold the lock for both functions. */
void make_writable(struct open_file *file);
void make_unwritable(struct open_file *file);

int send_to_bus(struct open_file *file, char type, uint32_t id, const void *head, size_t head_bytes,
                const void *body, size_t body_bytes);

/* The operations of a request frame. The bus has the same list (src/node/bus-frame.ts). */
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

/* Sends a request to the bus and waits for the response. Returns its result, or -1 with errno. */
int request_bus(struct open_file *file, enum operation operation, int32_t first, int32_t second);

/* Sends a frame of another type with data, waits, and copies the response data to `into`. Returns the result, or -1. */
int request_bus_with_data(struct open_file *file, char type, const void *head, size_t head_bytes, const void *body,
                          size_t body_bytes, void *into, size_t into_bytes);

int hidraw_ioctl(struct open_file *file, unsigned long request, void *argument);

#endif
