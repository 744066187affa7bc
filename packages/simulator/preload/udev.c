/*
 * Replaces libudev completely, so that its objects are never mixed with those of the real library. A device is a folder
 * of the bus's tree with a file `uevent` of KEY=VALUE lines. Its attributes are files, and its parent is the nearest
 * folder above it with a `uevent` file. A monitor is a connection to the bus.
 */
#define _GNU_SOURCE
#include "webtoki-usb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

struct udev {
  int references;
};

struct udev_list_entry {
  struct udev_list_entry *next;
  char *name;
  char *value;
};

struct udev_device {
  int references;
  struct udev *udev;
  char *syspath;
  const char *sysname;
  char *action;
  struct udev_list_entry *properties;
  struct udev_list_entry *attributes;
  struct udev_device *parent;
  bool is_parent_known;
};

struct udev_enumerate {
  int references;
  struct udev *udev;
  struct udev_list_entry *subsystems;
  struct udev_list_entry *properties;
  struct udev_list_entry *found;
};

struct udev_monitor {
  int references;
  struct udev *udev;
  int fd;
  int other_fd; /* after the end of the bus, the other end of the socket pair that replaces the connection */
  struct udev_list_entry *filters;
  struct udev_list_entry *leaving; /* devices of a bus that ended whose removal has not been reported yet */
};

struct udev_hwdb {
  int references;
};

/* Lists. */

static struct udev_list_entry *append(struct udev_list_entry **list, const char *name, const char *value) {
  struct udev_list_entry *entry = calloc(1, sizeof *entry);
  entry->name = strdup(name);
  entry->value = value ? strdup(value) : NULL;
  while (*list) list = &(*list)->next;
  *list = entry;
  return entry;
}

static struct udev_list_entry *find(struct udev_list_entry *list, const char *name) {
  while (list && strcmp(list->name, name) != 0) list = list->next;
  return list;
}

static void free_list(struct udev_list_entry **list) {
  while (*list) {
    struct udev_list_entry *entry = *list;
    *list = entry->next;
    free(entry->name);
    free(entry->value);
    free(entry);
  }
}

EXPORT struct udev_list_entry *udev_list_entry_get_next(struct udev_list_entry *entry) {
  return entry ? entry->next : NULL;
}
EXPORT const char *udev_list_entry_get_name(struct udev_list_entry *entry) { return entry ? entry->name : NULL; }
EXPORT const char *udev_list_entry_get_value(struct udev_list_entry *entry) { return entry ? entry->value : NULL; }
EXPORT struct udev_list_entry *udev_list_entry_get_by_name(struct udev_list_entry *entry, const char *name) {
  return find(entry, name);
}

/* The context. */

EXPORT struct udev *udev_new(void) {
  struct udev *udev = calloc(1, sizeof *udev);
  if (udev) udev->references = 1;
  return udev;
}
EXPORT struct udev *udev_ref(struct udev *udev) {
  if (udev) __sync_fetch_and_add(&udev->references, 1);
  return udev;
}
EXPORT struct udev *udev_unref(struct udev *udev) {
  /* Unlike in libudev, devices hold no reference to their context, so it is never freed. */
  if (udev) __sync_fetch_and_sub(&udev->references, 1);
  return NULL;
}

/* Devices. */

static char *read_file(const char *path, size_t *bytes) {
  enum { MAX_FILE_BYTES = 65536 };
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return NULL;
  char *text = malloc(MAX_FILE_BYTES + 1);
  size_t length = 0;
  ssize_t got;
  while (text && length < MAX_FILE_BYTES && (got = read(fd, text + length, MAX_FILE_BYTES - length)) > 0)
    length += (size_t)got;
  real_close(fd);
  if (text) text[length] = 0;
  if (bytes) *bytes = length;
  return text;
}

static void read_properties(struct udev_device *device, char *text) {
  char *rest;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    char *equals = strchr(line, '=');
    if (!equals) continue;
    *equals = 0;
    append(&device->properties, line, equals + 1);
  }
}

static const char *property(struct udev_device *device, const char *name) {
  const struct udev_list_entry *entry = device ? find(device->properties, name) : NULL;
  return entry ? entry->value : NULL;
}

static struct udev_device *new_device(struct udev *udev, const char *syspath, char *properties) {
  struct udev_device *device = calloc(1, sizeof *device);
  device->references = 1;
  device->udev = udev;
  device->syspath = strdup(syspath);
  const char *slash = strrchr(device->syspath, '/');
  device->sysname = slash ? slash + 1 : device->syspath;
  read_properties(device, properties);
  return device;
}

EXPORT struct udev_device *udev_device_new_from_syspath(struct udev *udev, const char *syspath) {
  char path[PATH_MAX];
  if (!syspath || snprintf(path, sizeof path, "%s/uevent", syspath) >= (int)sizeof path) {
    errno = ENODEV;
    return NULL;
  }
  char *text = read_file(path, NULL);
  if (!text) {
    errno = ENODEV;
    return NULL;
  }
  struct udev_device *device = new_device(udev, syspath, text);
  free(text);
  return device;
}
EXPORT struct udev_device *udev_device_ref(struct udev_device *device) {
  if (device) __sync_fetch_and_add(&device->references, 1);
  return device;
}
EXPORT struct udev_device *udev_device_unref(struct udev_device *device) {
  if (!device || __sync_sub_and_fetch(&device->references, 1) > 0) return NULL;
  udev_device_unref(device->parent);
  free_list(&device->properties);
  free_list(&device->attributes);
  free(device->syspath);
  free(device->action);
  free(device);
  return NULL;
}
EXPORT struct udev *udev_device_get_udev(struct udev_device *device) { return device ? device->udev : NULL; }
EXPORT const char *udev_device_get_syspath(struct udev_device *device) { return device ? device->syspath : NULL; }
EXPORT const char *udev_device_get_devpath(struct udev_device *device) { return device ? device->syspath : NULL; }
EXPORT const char *udev_device_get_sysname(struct udev_device *device) { return device ? device->sysname : NULL; }
EXPORT const char *udev_device_get_sysnum(struct udev_device *device) {
  if (!device) return NULL;
  const char *digits = device->sysname + strlen(device->sysname);
  while (digits > device->sysname && digits[-1] >= '0' && digits[-1] <= '9') digits--;
  return *digits ? digits : NULL;
}
EXPORT const char *udev_device_get_subsystem(struct udev_device *device) { return property(device, "SUBSYSTEM"); }
EXPORT const char *udev_device_get_devtype(struct udev_device *device) { return property(device, "DEVTYPE"); }
EXPORT const char *udev_device_get_devnode(struct udev_device *device) { return property(device, "DEVNAME"); }
EXPORT const char *udev_device_get_driver(struct udev_device *device) { return property(device, "DRIVER"); }
EXPORT const char *udev_device_get_action(struct udev_device *device) { return device ? device->action : NULL; }
EXPORT int udev_device_get_is_initialized(struct udev_device *device) { return device ? 1 : 0; }
EXPORT dev_t udev_device_get_devnum(struct udev_device *device) {
  (void)device;
  return 0;
}
EXPORT unsigned long long udev_device_get_seqnum(struct udev_device *device) {
  (void)device;
  return 0;
}
EXPORT const char *udev_device_get_property_value(struct udev_device *device, const char *name) {
  return property(device, name);
}
EXPORT struct udev_list_entry *udev_device_get_properties_list_entry(struct udev_device *device) {
  return device ? device->properties : NULL;
}
#define EMPTY_LIST_OF_DEVICE(name)                                        \
  EXPORT struct udev_list_entry *name(struct udev_device *device) {       \
    (void)device;                                                         \
    return NULL;                                                          \
  }
EMPTY_LIST_OF_DEVICE(udev_device_get_devlinks_list_entry)
EMPTY_LIST_OF_DEVICE(udev_device_get_tags_list_entry)
EMPTY_LIST_OF_DEVICE(udev_device_get_sysattr_list_entry)

/* Values are cached, including missing ones, as in libudev, because callers keep the pointer. */
EXPORT const char *udev_device_get_sysattr_value(struct udev_device *device, const char *name) {
  if (!device || !name) return NULL;
  const struct udev_list_entry *entry = find(device->attributes, name);
  if (!entry) {
    char path[PATH_MAX];
    size_t bytes = 0;
    char *text = NULL;
    if (snprintf(path, sizeof path, "%s/%s", device->syspath, name) < (int)sizeof path) text = read_file(path, &bytes);
    while (text && bytes > 0 && text[bytes - 1] == '\n') text[--bytes] = 0;
    entry = append(&device->attributes, name, text);
    free(text);
  }
  return entry->value;
}

EXPORT struct udev_device *udev_device_get_parent(struct udev_device *device) {
  if (!device) return NULL;
  if (device->is_parent_known) return device->parent;
  device->is_parent_known = true;
  char *path = strdup(device->syspath);
  char *slash;
  while (!device->parent && (slash = strrchr(path, '/')) && slash != path) {
    *slash = 0;
    device->parent = udev_device_new_from_syspath(device->udev, path);
  }
  free(path);
  return device->parent;
}
EXPORT struct udev_device *udev_device_get_parent_with_subsystem_devtype(struct udev_device *device,
                                                                         const char *subsystem, const char *devtype) {
  while ((device = udev_device_get_parent(device))) {
    const char *own_subsystem = property(device, "SUBSYSTEM");
    const char *own_devtype = property(device, "DEVTYPE");
    if (subsystem && (!own_subsystem || strcmp(subsystem, own_subsystem) != 0)) continue;
    if (devtype && (!own_devtype || strcmp(devtype, own_devtype) != 0)) continue;
    return device;
  }
  return NULL;
}

/* Enumeration. */

static bool fits(const struct udev_enumerate *enumerate, struct udev_device *device) {
  const char *subsystem = property(device, "SUBSYSTEM");
  if (enumerate->subsystems && (!subsystem || !find(enumerate->subsystems, subsystem))) return false;
  if (!enumerate->properties) return true;
  /* According to libudev's documentation, one matching property is enough. */
  for (const struct udev_list_entry *filter = enumerate->properties; filter; filter = filter->next) {
    const char *value = property(device, filter->name);
    if (value && filter->value && strcmp(value, filter->value) == 0) return true;
  }
  return false;
}

static void walk(struct udev_enumerate *enumerate, const char *folder) {
  struct udev_device *device = udev_device_new_from_syspath(enumerate->udev, folder);
  if (device && fits(enumerate, device)) append(&enumerate->found, folder, NULL);
  udev_device_unref(device);
  DIR *listing = opendir(folder);
  const struct dirent *entry;
  while (listing && (entry = readdir(listing))) {
    char path[PATH_MAX];
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
    if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path) walk(enumerate, path);
  }
  if (listing) closedir(listing);
}

EXPORT struct udev_enumerate *udev_enumerate_new(struct udev *udev) {
  struct udev_enumerate *enumerate = calloc(1, sizeof *enumerate);
  enumerate->references = 1;
  enumerate->udev = udev;
  return enumerate;
}
EXPORT struct udev_enumerate *udev_enumerate_ref(struct udev_enumerate *enumerate) {
  if (enumerate) enumerate->references++;
  return enumerate;
}
EXPORT struct udev_enumerate *udev_enumerate_unref(struct udev_enumerate *enumerate) {
  if (!enumerate || --enumerate->references > 0) return NULL;
  free_list(&enumerate->subsystems);
  free_list(&enumerate->properties);
  free_list(&enumerate->found);
  free(enumerate);
  return NULL;
}
EXPORT struct udev *udev_enumerate_get_udev(struct udev_enumerate *enumerate) {
  return enumerate ? enumerate->udev : NULL;
}
EXPORT int udev_enumerate_add_match_subsystem(struct udev_enumerate *enumerate, const char *subsystem) {
  if (subsystem) append(&enumerate->subsystems, subsystem, NULL);
  return 0;
}
EXPORT int udev_enumerate_add_match_property(struct udev_enumerate *enumerate, const char *name, const char *value) {
  if (name) append(&enumerate->properties, name, value);
  return 0;
}
/* Filters that are accepted but not applied. The caller gets additional devices, which it must check anyway. */
#define IGNORED_FILTER(name)                                             \
  EXPORT int name(struct udev_enumerate *enumerate, const char *text) {  \
    (void)enumerate, (void)text;                                         \
    return 0;                                                            \
  }
#define IGNORED_PAIR_FILTER(name)                                                             \
  EXPORT int name(struct udev_enumerate *enumerate, const char *first, const char *second) {  \
    (void)enumerate, (void)first, (void)second;                                               \
    return 0;                                                                                 \
  }
IGNORED_FILTER(udev_enumerate_add_nomatch_subsystem)
IGNORED_FILTER(udev_enumerate_add_match_sysname)
IGNORED_FILTER(udev_enumerate_add_match_tag)
IGNORED_PAIR_FILTER(udev_enumerate_add_match_sysattr)
IGNORED_PAIR_FILTER(udev_enumerate_add_nomatch_sysattr)
EXPORT int udev_enumerate_add_match_is_initialized(struct udev_enumerate *enumerate) {
  (void)enumerate;
  return 0;
}
EXPORT int udev_enumerate_add_match_parent(struct udev_enumerate *enumerate, struct udev_device *parent) {
  (void)enumerate, (void)parent;
  return 0;
}
EXPORT int udev_enumerate_scan_devices(struct udev_enumerate *enumerate) {
  free_list(&enumerate->found);
  char devices[PATH_MAX];
  if (bus_root() && snprintf(devices, sizeof devices, "%s/sys/devices", bus_root()) < (int)sizeof devices)
    walk(enumerate, devices);
  return 0;
}
EXPORT struct udev_list_entry *udev_enumerate_get_list_entry(struct udev_enumerate *enumerate) {
  return enumerate ? enumerate->found : NULL;
}

EXPORT struct udev_device *udev_device_new_from_subsystem_sysname(struct udev *udev, const char *subsystem,
                                                                  const char *sysname) {
  struct udev_enumerate *enumerate = udev_enumerate_new(udev);
  struct udev_device *device = NULL;
  udev_enumerate_add_match_subsystem(enumerate, subsystem);
  udev_enumerate_scan_devices(enumerate);
  for (const struct udev_list_entry *entry = enumerate->found; entry && !device; entry = entry->next)
    if (strcmp(strrchr(entry->name, '/') + 1, sysname) == 0) device = udev_device_new_from_syspath(udev, entry->name);
  udev_enumerate_unref(enumerate);
  if (!device) errno = ENODEV;
  return device;
}
EXPORT struct udev_device *udev_device_new_from_devnum(struct udev *udev, char type, dev_t number) {
  (void)udev, (void)type, (void)number;
  errno = ENODEV;
  return NULL;
}
EXPORT struct udev_device *udev_device_new_from_device_id(struct udev *udev, const char *id) {
  (void)udev, (void)id;
  errno = ENODEV;
  return NULL;
}
EXPORT struct udev_device *udev_device_new_from_environment(struct udev *udev) {
  (void)udev;
  errno = ENODEV;
  return NULL;
}

/* Monitors. */

EXPORT struct udev_monitor *udev_monitor_new_from_netlink(struct udev *udev, const char *name) {
  (void)name;
  struct udev_monitor *monitor = calloc(1, sizeof *monitor);
  monitor->references = 1;
  monitor->udev = udev;
  monitor->other_fd = -1;
  monitor->fd = bus_connect();
  if (monitor->fd >= 0) {
    send_frame(monitor->fd, 'M', 0, NULL, 0, NULL, 0);
    /* The bus responds after it has registered the monitor, so devices plugged in after this call are reported. */
    struct frame response;
    if (receive_frame(monitor->fd, &response)) free(response.payload);
  } else {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      free(monitor);
      return NULL;
    }
    monitor->fd = ends[0];
    monitor->other_fd = ends[1];
  }
  trace("monitor: fd %d", monitor->fd);
  return monitor;
}
EXPORT struct udev_monitor *udev_monitor_ref(struct udev_monitor *monitor) {
  if (monitor) monitor->references++;
  return monitor;
}
EXPORT struct udev_monitor *udev_monitor_unref(struct udev_monitor *monitor) {
  if (!monitor || --monitor->references > 0) return NULL;
  real_close(monitor->fd);
  if (monitor->other_fd >= 0) real_close(monitor->other_fd);
  free_list(&monitor->filters);
  free_list(&monitor->leaving);
  free(monitor);
  return NULL;
}
EXPORT struct udev *udev_monitor_get_udev(struct udev_monitor *monitor) { return monitor ? monitor->udev : NULL; }
EXPORT int udev_monitor_get_fd(struct udev_monitor *monitor) { return monitor ? monitor->fd : -1; }
EXPORT int udev_monitor_enable_receiving(struct udev_monitor *monitor) {
  (void)monitor;
  return 0;
}
EXPORT int udev_monitor_set_receive_buffer_size(struct udev_monitor *monitor, int bytes) {
  (void)monitor, (void)bytes;
  return 0;
}
EXPORT int udev_monitor_filter_add_match_subsystem_devtype(struct udev_monitor *monitor, const char *subsystem,
                                                           const char *devtype) {
  append(&monitor->filters, subsystem, devtype);
  return 0;
}
EXPORT int udev_monitor_filter_add_match_tag(struct udev_monitor *monitor, const char *tag) {
  (void)monitor, (void)tag;
  return 0;
}
EXPORT int udev_monitor_filter_update(struct udev_monitor *monitor) {
  (void)monitor;
  return 0;
}
EXPORT int udev_monitor_filter_remove(struct udev_monitor *monitor) {
  free_list(&monitor->filters);
  return 0;
}

static bool passes(const struct udev_monitor *monitor, struct udev_device *device) {
  if (!monitor->filters) return true;
  const char *subsystem = property(device, "SUBSYSTEM");
  const char *devtype = property(device, "DEVTYPE");
  for (const struct udev_list_entry *filter = monitor->filters; filter; filter = filter->next) {
    if (!subsystem || strcmp(filter->name, subsystem) != 0) continue;
    if (!filter->value || (devtype && strcmp(filter->value, devtype) == 0)) return true;
  }
  return false;
}

/* Replaces the descriptor, under the same number, with one that is readable while removals are left to report. */
static void bus_ended(struct udev_monitor *monitor) {
  int ends[2];
  if (monitor->other_fd >= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
  dup3(ends[0], monitor->fd, O_CLOEXEC);
  real_close(ends[0]);
  monitor->other_fd = ends[1];
  /* A killed bus leaves its tree behind. The devices in it have been removed with the bus. */
  struct udev_enumerate *enumerate = udev_enumerate_new(monitor->udev);
  udev_enumerate_scan_devices(enumerate);
  monitor->leaving = enumerate->found;
  enumerate->found = NULL;
  udev_enumerate_unref(enumerate);
  for (const struct udev_list_entry *entry = monitor->leaving; entry; entry = entry->next)
    (void)!send(monitor->other_fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static struct udev_device *next_leaving(struct udev_monitor *monitor) {
  char byte;
  (void)!recv(monitor->fd, &byte, 1, MSG_DONTWAIT);
  struct udev_list_entry *entry = monitor->leaving;
  if (!entry) return NULL;
  monitor->leaving = entry->next;
  entry->next = NULL;
  struct udev_device *device = udev_device_new_from_syspath(monitor->udev, entry->name);
  free_list(&entry);
  if (device) device->action = strdup("remove");
  return device;
}

static struct udev_device *next_notification(struct udev_monitor *monitor) {
  struct frame frame;
  if (!receive_frame(monitor->fd, &frame)) {
    bus_ended(monitor);
    return next_leaving(monitor);
  }
  /* After ACTION and DEVPATH, the frame has all properties of the device, because its folder may not exist any more. */
  struct udev_device *device = new_device(monitor->udev, "/", (char *)frame.payload);
  free(frame.payload);
  const char *syspath = property(device, "DEVPATH");
  const char *action = property(device, "ACTION");
  free(device->syspath);
  device->syspath = strdup(syspath && syspath[0] == '/' ? syspath : "/");
  device->sysname = strrchr(device->syspath, '/') + 1;
  device->action = strdup(action ? action : "change");
  return device;
}

EXPORT struct udev_device *udev_monitor_receive_device(struct udev_monitor *monitor) {
  struct pollfd readable = {.fd = monitor->fd, .events = POLLIN};
  struct udev_device *device = NULL;
  if (poll(&readable, 1, 0) > 0) device = monitor->other_fd >= 0 ? next_leaving(monitor) : next_notification(monitor);
  if (device && passes(monitor, device)) {
    trace("monitor: %s %s", device->action, device->sysname);
    return device;
  }
  udev_device_unref(device);
  errno = EAGAIN;
  return NULL;
}

/* The hardware database. It is empty, because the real entries are lists of the real library. */

EXPORT struct udev_hwdb *udev_hwdb_new(struct udev *udev) {
  (void)udev;
  struct udev_hwdb *database = calloc(1, sizeof *database);
  if (database) database->references = 1;
  return database;
}
EXPORT struct udev_hwdb *udev_hwdb_ref(struct udev_hwdb *database) {
  if (database) database->references++;
  return database;
}
EXPORT struct udev_hwdb *udev_hwdb_unref(struct udev_hwdb *database) {
  if (database && --database->references == 0) free(database);
  return NULL;
}
EXPORT struct udev_list_entry *udev_hwdb_get_properties_list_entry(struct udev_hwdb *database, const char *modalias,
                                                                   unsigned flags) {
  (void)database, (void)modalias, (void)flags;
  return NULL;
}
