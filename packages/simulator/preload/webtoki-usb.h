/* Declarations shared by the parts of the preload library: bus connections, device files and environment. */
#ifndef WEBTOKI_USB_H
#define WEBTOKI_USB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Only replacements of libc and libudev functions are exported. Other symbols could collide with the program's. */
#define EXPORT __attribute__((visibility("default")))

/* The socket of the bus, and the folder with its `sys` and `dev`. NULL if the program runs without a bus. */
const char *bus_socket(void);
const char *bus_root(void);

/* Writes a line to the file named by WEBTOKI_USB_TRACE, if any. Never pass data, which can be a PIN. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A frame: u32 length of the rest, u8 type, u32 id and payload, in the little-endian byte order of the machine. */
enum { MAX_FRAME_BYTES = 64 << 20 };

struct frame {
  char type;
  uint32_t id;
  uint32_t length;
  uint8_t *payload; /* owned; followed by a zero byte that `length` does not count */
};

int bus_connect(void);
int send_frame(int fd, char type, uint32_t id, const void *head, size_t head_bytes, const void *body, size_t body_bytes);
bool receive_frame(int fd, struct frame *frame);

/* Calls the kernel directly, without the replaced libc function. */
int real_close(int fd);

/* Device files. */
struct open_file;
int open_device_file(const char *path);
struct open_file *find_open_file(int fd);
/* Notifies the bus before the descriptor is closed, so that the interface is free for the next program. */
void close_open_file(int fd);
int device_ioctl(struct open_file *file, unsigned long request, void *argument);

#endif
