/* Shared by the parts of the preload library: connections to the bus, open device files, and where the tree lies. */
#ifndef WEBTOKI_USB_H
#define WEBTOKI_USB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Only what stands in for a libc or libudev function leaves the library; all else would get in the program's way. */
#define EXPORT __attribute__((visibility("default")))

/* Where the bus listens, and the folder with its `sys` and `dev`; NULL when the program does not run under a bus. */
const char *bus_socket(void);
const char *bus_root(void);

/* One line into the file named by WEBTOKI_USB_TRACE, if any. Never data, for it may be a PIN. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Frames: u32 length of what follows, u8 type, u32 id, payload; little-endian as the machine. */
enum { MAX_FRAME_BYTES = 64 << 20 };

struct frame {
  char type;
  uint32_t id;
  uint32_t length;
  uint8_t *payload; /* owned; ends in a zero that `length` does not count */
};

int bus_connect(void);
int send_frame(int fd, char type, uint32_t id, const void *head, size_t head_bytes, const void *body, size_t body_bytes);
bool receive_frame(int fd, struct frame *frame);

/* The real libc functions, past our own. */
int real_close(int fd);

/* Device files. */
struct open_file;
int open_device_file(const char *path);
struct open_file *find_open_file(int fd);
/* Tells the bus before the descriptor goes, so that the next program finds the interface free. */
void close_open_file(int fd);
int device_ioctl(struct open_file *file, unsigned long request, void *argument);

#endif
