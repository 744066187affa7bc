/* Replaces the libc functions for files: open and its variants, opendir, ioctl and close. */
#define _GNU_SOURCE
#include "webtoki-usb.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static bool is_device_file(const char *path) {
  static const char usb[] = "/dev/bus/usb/", hid[] = "/dev/hidraw";
  if (!path || !bus_socket()) return false;
  return (strncmp(path, usb, sizeof usb - 1) == 0 && path[sizeof usb - 1] != 0) ||
         (strncmp(path, hid, sizeof hid - 1) == 0 && path[sizeof hid - 1] != 0);
}

/* libusb reads /sys/bus/usb/devices/NAME/ATTRIBUTE and checks that the folder /dev/bus/usb is not empty. */
static const char *in_tree(const char *path, char buffer[PATH_MAX]) {
  const char *root = bus_root();
  if (!path || !root) return path;
  static const char sys[] = "/sys/bus/usb";
  const char after = strncmp(path, sys, sizeof sys - 1) == 0 ? path[sizeof sys - 1] : 'x';
  if (after != 0 && after != '/' && strcmp(path, "/dev/bus/usb") != 0) return path;
  return snprintf(buffer, PATH_MAX, "%s%s", root, path) < PATH_MAX ? buffer : path;
}

EXPORT DIR *opendir(const char *path) {
  static DIR *(*real)(const char *);
  if (!real) real = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
  char buffer[PATH_MAX];
  return real(in_tree(path, buffer));
}

#define MODE_OF(flags)                                   \
  mode_t mode = 0;                                       \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {               \
    va_list arguments;                                   \
    va_start(arguments, flags);                          \
    mode = (mode_t)va_arg(arguments, int);               \
    va_end(arguments);                                   \
  }

#define OPEN_HOOK(name)                                                                    \
  EXPORT int name(const char *path, int flags, ...) {                                      \
    MODE_OF(flags)                                                                         \
    if (is_device_file(path)) return open_device_file(path);                               \
    static int (*real)(const char *, int, ...);                                            \
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name);            \
    char buffer[PATH_MAX];                                                                 \
    return real(in_tree(path, buffer), flags, mode);                                       \
  }

#define OPENAT_HOOK(name)                                                                  \
  EXPORT int name(int folder, const char *path, int flags, ...) {                          \
    MODE_OF(flags)                                                                         \
    if (is_device_file(path)) return open_device_file(path);                               \
    static int (*real)(int, const char *, int, ...);                                       \
    if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name);       \
    char buffer[PATH_MAX];                                                                 \
    return real(folder, in_tree(path, buffer), flags, mode);                               \
  }

OPEN_HOOK(open)
OPEN_HOOK(open64)
OPENAT_HOOK(openat)
OPENAT_HOOK(openat64)

/* Builds with _FORTIFY_SOURCE, such as Debian's libusb, call these functions instead. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int folder, const char *path, int flags);
EXPORT int __openat64_2(int folder, const char *path, int flags);
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }
int __openat_2(int folder, const char *path, int flags) { return openat(folder, path, flags); }
int __openat64_2(int folder, const char *path, int flags) { return openat64(folder, path, flags); }

EXPORT int ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  struct open_file *file = find_open_file(fd);
  if (file) return device_ioctl(file, request, argument);
  static int (*real)(int, unsigned long, ...);
  if (!real) real = (int (*)(int, unsigned long, ...))dlsym(RTLD_NEXT, "ioctl");
  return real(fd, request, argument);
}

/* Chromium has its own `close`, which calls glibc's `__close`, so both are replaced. */
EXPORT int __close(int fd);
int __close(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "__close");
  close_open_file(fd);
  return real(fd);
}

EXPORT int close(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "close");
  close_open_file(fd);
  return real(fd);
}
