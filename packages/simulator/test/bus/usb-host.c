/* A libusb client for tests of the virtual USB bus. It reads one command per line and writes one response. */
#include <libusb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;
static libusb_device_handle *handle;

static void print_line(const char *name, const char *text, const unsigned char *data, int bytes) {
  pthread_mutex_lock(&output);
  printf("%s %s", name, text);
  if (bytes > 0) putchar(' ');
  for (int i = 0; i < bytes; i++) printf("%02x", data[i]);
  putchar('\n');
  fflush(stdout);
  pthread_mutex_unlock(&output);
}

static const char *status_name(enum libusb_transfer_status status) {
  static const char *names[] = {"completed", "error", "timed-out", "cancelled", "stall", "no-device", "overflow"};
  return names[status];
}

static struct libusb_transfer *reading;

static void finished(struct libusb_transfer *transfer) {
  print_line("transfer", status_name(transfer->status), transfer->buffer, transfer->actual_length);
  if (transfer == reading) reading = NULL;
  free(transfer->buffer);
  libusb_free_transfer(transfer);
}

static int hotplug(libusb_context *context, libusb_device *device, libusb_hotplug_event event, void *data) {
  (void)context, (void)device, (void)data;
  print_line("hotplug", event == LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED ? "arrived" : "left", NULL, 0);
  return 0;
}

static void *events(void *argument) {
  (void)argument;
  for (;;) libusb_handle_events(NULL);
  return NULL;
}

static int from_hex(const char *hex, unsigned char *bytes) {
  int n = 0;
  for (unsigned value; sscanf(hex + 2 * n, "%2x", &value) == 1; n++) bytes[n] = (unsigned char)value;
  return n;
}

int main(void) {
  static char line[1 << 18];
  static unsigned char data[1 << 17];
  libusb_init(NULL);
  libusb_hotplug_register_callback(NULL, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT,
                                   LIBUSB_HOTPLUG_ENUMERATE, LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY,
                                   LIBUSB_HOTPLUG_MATCH_ANY, hotplug, NULL, NULL);
  pthread_t thread;
  pthread_create(&thread, NULL, events, NULL);
  print_line("answer", "ready", NULL, 0);
  while (fgets(line, sizeof line, stdin)) {
    char verb[32] = "", rest[16] = "";
    int first = 0, second = 0, moved = 0, result = LIBUSB_ERROR_NOT_SUPPORTED, at = 0;
    sscanf(line, "%31s %x %x %15s", verb, &first, &second, rest);
    if (!strcmp(verb, "open")) result = (handle = libusb_open_device_with_vid_pid(NULL, first, second)) ? 0 : -4;
    if (!strcmp(verb, "close")) libusb_close(handle), handle = NULL, result = 0;
    if (!strcmp(verb, "claim")) result = libusb_claim_interface(handle, first);
    if (!strcmp(verb, "release")) result = libusb_release_interface(handle, first);
    if (!strcmp(verb, "reset")) result = libusb_reset_device(handle);
    if (!strcmp(verb, "clear")) result = libusb_clear_halt(handle, (unsigned char)first);
    if (!strcmp(verb, "cancel")) result = reading ? libusb_cancel_transfer(reading) : LIBUSB_ERROR_NOT_FOUND;
    if (!strcmp(verb, "out")) {
      sscanf(line, "%*s %*x %n", &at);
      result = libusb_bulk_transfer(handle, (unsigned char)first, data, from_hex(line + at, data), &moved, 5000);
    }
    if (!strcmp(verb, "in")) {
      reading = libusb_alloc_transfer(0);
      libusb_fill_bulk_transfer(reading, handle, (unsigned char)first, malloc(second), second, finished, NULL, 0);
      result = libusb_submit_transfer(reading);
    }
    if (!strcmp(verb, "control")) {
      result = libusb_control_transfer(handle, first >> 8, first & 0xff, (uint16_t)second, 0, data, 255, 5000);
      if (result >= 0) {
        print_line("answer", "ok", data, result);
        continue;
      }
    }
    print_line("answer", result == 0 ? "ok" : libusb_error_name(result), NULL, 0);
  }
  return 0;
}
