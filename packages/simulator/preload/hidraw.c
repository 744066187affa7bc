/* The ioctls of a hidraw file as Linux has them: drivers/hid/hidraw.c, linux/hidraw.h. */
#define _GNU_SOURCE
#include "open-file.h"

#include <errno.h>
#include <linux/hidraw.h>
#include <string.h>
#include <sys/ioctl.h>

/* Asks the bus: which ioctl, how many bytes the program has room for, and the bytes it gave. */
static int ask(struct open_file *file, uint32_t number, uint32_t bytes, const void *given, size_t given_bytes,
               void *into, size_t into_bytes) {
  const uint32_t words[2] = {number, bytes};
  return ask_bus_for(file, 'H', words, sizeof words, given, given_bytes, into, into_bytes);
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
      const int size = ask(file, number, 0, NULL, 0, NULL, 0);
      if (size >= 0) *(int *)argument = size;
      return size < 0 ? -1 : 0;
    }
    case _IOC_NR(HIDIOCGRDESC): {
      struct hidraw_report_descriptor *descriptor = argument;
      const uint32_t room = descriptor->size < sizeof descriptor->value ? descriptor->size : sizeof descriptor->value;
      return ask(file, number, room, NULL, 0, descriptor->value, room) < 0 ? -1 : 0;
    }
    case _IOC_NR(HIDIOCGRAWINFO): return ask(file, number, bytes, NULL, 0, argument, bytes) < 0 ? -1 : 0;
    case _IOC_NR(HIDIOCGRAWNAME(0)): return ask(file, number, bytes, NULL, 0, argument, bytes);
    case _IOC_NR(HIDIOCSFEATURE(0)): return ask(file, number, bytes, argument, bytes, NULL, 0);
    /* The first byte says which report; the answer begins with it too. */
    case _IOC_NR(HIDIOCGFEATURE(0)): return ask(file, number, bytes, argument, bytes ? 1 : 0, argument, bytes);
    default: errno = ENOTTY; return -1;
  }
}
