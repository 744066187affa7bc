/* A hidraw client for tests of virtual HID devices. It reads one command per line and writes one response. */
#include <errno.h>
#include <fcntl.h>
#include <linux/hidraw.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void respond(const char *text, const unsigned char *data, long bytes) {
  printf("answer %s%s", text, bytes > 0 ? " " : "");
  for (long i = 0; i < bytes; i++) printf("%02x", data[i]);
  putchar('\n');
  fflush(stdout);
}

int main(void) {
  static char line[8192];
  int fd = -1;
  while (fgets(line, sizeof line, stdin)) {
    char verb[32] = "", rest[4096] = "";
    unsigned char bytes[1024] = {0};
    int length = 0;
    sscanf(line, "%31s %4095s", verb, rest);
    for (unsigned value; sscanf(rest + 2 * length, "%2x", &value) == 1;) bytes[length++] = (unsigned char)value;
    long result = 0;
    if (!strcmp(verb, "open")) {
      result = fd = open(rest, O_RDWR);
      length = 0;
    } else if (!strcmp(verb, "descriptor")) {
      int size = 0;
      struct hidraw_report_descriptor descriptor = {0};
      result = ioctl(fd, HIDIOCGRDESCSIZE, &size);
      descriptor.size = (unsigned)size;
      if (result >= 0) result = ioctl(fd, HIDIOCGRDESC, &descriptor);
      memcpy(bytes, descriptor.value, length = size);
    } else if (!strcmp(verb, "info")) {
      struct hidraw_devinfo info;
      result = ioctl(fd, HIDIOCGRAWINFO, &info);
      memcpy(bytes, &info, length = sizeof info);
    } else if (!strcmp(verb, "name")) {
      result = length = ioctl(fd, HIDIOCGRAWNAME(sizeof bytes), bytes);
    } else if (!strcmp(verb, "write")) {
      result = write(fd, bytes, (size_t)length);
      length = 0;
    } else if (!strcmp(verb, "read")) {
      result = length = (int)read(fd, bytes, sizeof bytes);
    } else if (!strcmp(verb, "set-feature")) {
      result = ioctl(fd, HIDIOCSFEATURE(length), bytes);
      length = 0;
    } else if (!strcmp(verb, "get-feature")) {
      result = length = ioctl(fd, HIDIOCGFEATURE(9), bytes);
    }
    respond(result < 0 ? strerror(errno) : "ok", bytes, result < 0 ? 0 : length);
  }
  return 0;
}
