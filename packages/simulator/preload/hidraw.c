/* Implements the ioctls of a hidraw file (Linux, drivers/hid/hidraw.c and linux/hidraw.h). */
#define _GNU_SOURCE
#include "open-file.h"

#include <errno.h>
#include <linux/hidraw.h>
#include <string.h>
#include <sys/ioctl.h>

/* Sends an ioctl to the bus: its number, the size of the program's buffer and the input bytes. */
static int request_ioctl(struct open_file *file, uint32_t number, uint32_t bytes, const void *input, size_t input_bytes,
                         void *into, size_t into_bytes) {
  const uint32_t words[2] = {number, bytes};
  return request_bus_with_data(file, 'H', words, sizeof words, input, input_bytes, into, into_bytes);
}

int hidraw_ioctl(struct open_file *file, unsigned long request, void *argument) {
  const uint32_t number = _IOC_NR(request), bytes = _IOC_SIZE(request);
  if (_IOC_TYPE(request) != 'H') {
    errno = ENOTTY;
    return -1;
  }
  trace("fd %d: hidraw ioctl %u, %u bytes", file->program_fd, number, bytes);
  switch (number) {
    case _IOC_NR(HIDIOCGRDESCSIZE): {
      const int size = request_ioctl(file, number, 0, NULL, 0, NULL, 0);
      if (size >= 0) *(int *)argument = size;
      return size < 0 ? -1 : 0;
    }
    case _IOC_NR(HIDIOCGRDESC): {
      struct hidraw_report_descriptor *descriptor = argument;
      const uint32_t capacity =
          descriptor->size < sizeof descriptor->value ? descriptor->size : sizeof descriptor->value;
      return request_ioctl(file, number, capacity, NULL, 0, descriptor->value, capacity) < 0 ? -1 : 0;
    }
    case _IOC_NR(HIDIOCGRAWINFO): return request_ioctl(file, number, bytes, NULL, 0, argument, bytes) < 0 ? -1 : 0;
    case _IOC_NR(HIDIOCGRAWNAME(0)): return request_ioctl(file, number, bytes, NULL, 0, argument, bytes);
    case _IOC_NR(HIDIOCSFEATURE(0)): return request_ioctl(file, number, bytes, argument, bytes, NULL, 0);
    /* The first byte of request and response is the report ID. */
    case _IOC_NR(HIDIOCGFEATURE(0)):
      return request_ioctl(file, number, bytes, argument, bytes ? 1 : 0, argument, bytes);
    default: errno = ENOTTY; return -1;
  }
}
