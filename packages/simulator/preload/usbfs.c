/* Implements the ioctls of a USB device file (Linux, drivers/usb/core/devio.c and linux/usbdevice_fs.h). */
#define _GNU_SOURCE
#include "open-file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

static int fail(int why) {
  errno = why;
  return -1;
}

/* Adds the transfer to the pending ones and sends it to the bus. If this fails, the caller keeps the transfer. */
static int submit(struct open_file *file, struct transfer *transfer) {
  const struct usbdevfs_urb *urb = transfer->urb;
  uint32_t out_bytes = 0;
  if (urb->buffer_length < 0 || urb->type == USBDEVFS_URB_TYPE_ISO) return fail(EINVAL);
  const uint32_t buffer_bytes = (uint32_t)urb->buffer_length;
  if (urb->type == USBDEVFS_URB_TYPE_CONTROL) {
    if (buffer_bytes < 8) return fail(EINVAL);
    const uint8_t *setup = urb->buffer;
    if (buffer_bytes - 8 < (uint32_t)(setup[6] | setup[7] << 8)) return fail(EINVAL);
    out_bytes = (setup[0] & 0x80) ? 8 : 8 + (uint32_t)(setup[6] | setup[7] << 8);
  } else if (!(urb->endpoint & 0x80)) {
    out_bytes = buffer_bytes;
  }
  uint8_t head[10] = {urb->type, urb->endpoint};
  const uint32_t flags = urb->flags;
  memcpy(head + 2, &flags, 4);
  memcpy(head + 6, &buffer_bytes, 4);
  pthread_mutex_lock(&file->lock);
  if (file->is_gone) {
    pthread_mutex_unlock(&file->lock);
    return fail(ENODEV);
  }
  const uint32_t id = transfer->id = ++file->last_id;
  transfer->next = file->pending;
  file->pending = transfer;
  pthread_mutex_unlock(&file->lock);
  trace("fd %d submit %u: type %d, endpoint %02x, %u bytes", file->program_fd, id, urb->type, urb->endpoint,
        buffer_bytes);
  /* From here on another thread can reap the transfer. If sending fails, the end of the bus completes it. */
  send_to_bus(file, 'S', id, head, sizeof head, urb->buffer, out_bytes);
  return 0;
}

/* Copies the received data to the program's buffer. Called at reaping: the buffer may be invalid before. */
static void deliver(struct transfer *transfer) {
  struct usbdevfs_urb *urb = transfer->urb;
  uint8_t *into = urb->buffer;
  uint32_t capacity = (uint32_t)urb->buffer_length;
  if (urb->type == USBDEVFS_URB_TYPE_CONTROL) {
    into += 8;
    capacity -= 8;
  }
  const uint32_t copied_bytes = transfer->data_bytes < capacity ? transfer->data_bytes : capacity;
  if (transfer->data_bytes) memcpy(into, transfer->data, copied_bytes);
  urb->status = transfer->status;
  urb->actual_length = (int)(transfer->actual_bytes < capacity ? transfer->actual_bytes : capacity);
  free(transfer->data);
}

static int submit_urb(struct open_file *file, struct usbdevfs_urb *urb) {
  struct transfer *transfer = calloc(1, sizeof *transfer);
  if (!transfer) return fail(ENOMEM);
  transfer->urb = urb;
  if (submit(file, transfer) == 0) return 0;
  free(transfer);
  return -1;
}

static int reap_urb(struct open_file *file, bool waits, void **reaped) {
  pthread_mutex_lock(&file->lock);
  while (waits && !file->done && !file->is_gone) pthread_cond_wait(&file->changed, &file->lock);
  struct transfer *transfer = file->done;
  if (!transfer) {
    const int why = file->is_gone ? ENODEV : EAGAIN;
    make_unwritable(file);
    pthread_mutex_unlock(&file->lock);
    return fail(why);
  }
  file->done = transfer->next;
  if (!file->done) {
    file->done_end = &file->done;
    make_unwritable(file);
  }
  pthread_mutex_unlock(&file->lock);
  deliver(transfer);
  trace("fd %d reap %u: status %d, %u bytes", file->program_fd, transfer->id, transfer->status,
        transfer->actual_bytes);
  *reaped = transfer->urb;
  free(transfer);
  return 0;
}

static bool is_pending(const struct open_file *file, uint32_t id) {
  const struct transfer *at = file->pending;
  while (at && at->id != id) at = at->next;
  return at != NULL;
}

/* Waits until the transfer has ended, as usb_kill_urb() does. It is reaped like any other transfer. */
static int discard_urb(struct open_file *file, const void *urb) {
  pthread_mutex_lock(&file->lock);
  const struct transfer *transfer = file->pending;
  while (transfer && (transfer->urb != urb || transfer->is_own)) transfer = transfer->next;
  if (!transfer) {
    pthread_mutex_unlock(&file->lock);
    return fail(EINVAL);
  }
  const uint32_t id = transfer->id;
  pthread_mutex_unlock(&file->lock);
  send_to_bus(file, 'D', id, NULL, 0, NULL, 0);
  pthread_mutex_lock(&file->lock);
  while (is_pending(file, id) && !file->is_gone) pthread_cond_wait(&file->changed, &file->lock);
  pthread_mutex_unlock(&file->lock);
  return 0;
}

/* Executes USBDEVFS_CONTROL or USBDEVFS_BULK and waits for it. Returns the number of bytes, or -1 with errno. */
static int transfer_now(struct open_file *file, struct usbdevfs_urb *urb, unsigned timeout_ms) {
  struct transfer transfer = {.urb = urb, .is_own = true};
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += timeout_ms / 1000;
  until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  if (submit(file, &transfer) != 0) return -1;
  bool is_late = false;
  pthread_mutex_lock(&file->lock);
  while (!transfer.is_done) {
    if (timeout_ms == 0 || is_late) {
      pthread_cond_wait(&file->changed, &file->lock);
    } else if (pthread_cond_timedwait(&file->changed, &file->lock, &until) == ETIMEDOUT && !transfer.is_done) {
      is_late = true;
      pthread_mutex_unlock(&file->lock);
      send_to_bus(file, 'D', transfer.id, NULL, 0, NULL, 0);
      pthread_mutex_lock(&file->lock);
    }
  }
  pthread_mutex_unlock(&file->lock);
  deliver(&transfer);
  if (is_late && urb->status == -ENOENT) return fail(ETIMEDOUT);
  return urb->status < 0 ? fail(-urb->status) : urb->actual_length;
}

static int control_now(struct open_file *file, const struct usbdevfs_ctrltransfer *control) {
  const uint32_t data_bytes = control->wLength;
  uint8_t *buffer = calloc(1, 8 + data_bytes);
  if (!buffer) return fail(ENOMEM);
  const uint16_t words[3] = {control->wValue, control->wIndex, control->wLength};
  const bool is_in = control->bRequestType & 0x80;
  buffer[0] = control->bRequestType;
  buffer[1] = control->bRequest;
  memcpy(buffer + 2, words, sizeof words);
  if (!is_in && data_bytes) memcpy(buffer + 8, control->data, data_bytes);
  struct usbdevfs_urb urb = {
      .type = USBDEVFS_URB_TYPE_CONTROL, .buffer = buffer, .buffer_length = (int)(8 + data_bytes)};
  const int moved = transfer_now(file, &urb, control->timeout);
  if (is_in && moved > 0) memcpy(control->data, buffer + 8, (size_t)moved);
  free(buffer);
  return moved;
}

static int bulk_now(struct open_file *file, const struct usbdevfs_bulktransfer *bulk) {
  struct usbdevfs_urb urb = {.type = USBDEVFS_URB_TYPE_BULK,
                             .endpoint = (unsigned char)bulk->ep,
                             .buffer = bulk->data,
                             .buffer_length = (int)bulk->len};
  return transfer_now(file, &urb, bulk->timeout);
}

static int get_driver(struct open_file *file, struct usbdevfs_getdriver *driver) {
  /* The driver of a virtual interface can only be usbfs. The bus knows whether a program has claimed it. */
  if (request_bus(file, OPERATION_GET_DRIVER, (int32_t)driver->interface, 0) < 0) return -1;
  strcpy(driver->driver, "usbfs");
  return 0;
}

static int driver_ioctl(const struct usbdevfs_ioctl *call) {
  if (call->ioctl_code == (int)USBDEVFS_DISCONNECT) return fail(ENODATA);
  if (call->ioctl_code == (int)USBDEVFS_CONNECT) return 0;
  return fail(ENOTTY);
}

int device_ioctl(struct open_file *file, unsigned long request, void *argument) {
  if (file->is_hid) return hidraw_ioctl(file, request, argument);
  switch (request) {
    case USBDEVFS_SUBMITURB: return submit_urb(file, argument);
    case USBDEVFS_REAPURB: return reap_urb(file, true, argument);
    case USBDEVFS_REAPURBNDELAY: return reap_urb(file, false, argument);
    case USBDEVFS_DISCARDURB: return discard_urb(file, argument);
    case USBDEVFS_CONTROL: return control_now(file, argument);
    case USBDEVFS_BULK: return bulk_now(file, argument);
    case USBDEVFS_SETCONFIGURATION: return request_bus(file, OPERATION_SET_CONFIGURATION, *(int32_t *)argument, 0);
    case USBDEVFS_CLAIMINTERFACE: return request_bus(file, OPERATION_CLAIM, *(int32_t *)argument, 0);
    case USBDEVFS_RELEASEINTERFACE: return request_bus(file, OPERATION_RELEASE, *(int32_t *)argument, 0);
    case USBDEVFS_SETINTERFACE: {
      const struct usbdevfs_setinterface *setting = argument;
      return request_bus(file, OPERATION_SET_INTERFACE, (int32_t)setting->interface, (int32_t)setting->altsetting);
    }
    case USBDEVFS_DISCONNECT_CLAIM: {
      const struct usbdevfs_disconnect_claim *claim = argument;
      return request_bus(file, OPERATION_CLAIM, (int32_t)claim->interface, 0);
    }
    case USBDEVFS_RESET: return request_bus(file, OPERATION_RESET, 0, 0);
    case USBDEVFS_CLEAR_HALT: return request_bus(file, OPERATION_CLEAR_HALT, *(int32_t *)argument, 0);
    case USBDEVFS_RESETEP: return request_bus(file, OPERATION_RESET_ENDPOINT, *(int32_t *)argument, 0);
    case USBDEVFS_GETDRIVER: return get_driver(file, argument);
    case USBDEVFS_IOCTL: return driver_ioctl(argument);
    case USBDEVFS_GET_CAPABILITIES:
      *(uint32_t *)argument =
          USBDEVFS_CAP_ZERO_PACKET | USBDEVFS_CAP_NO_PACKET_SIZE_LIM | USBDEVFS_CAP_REAP_AFTER_DISCONNECT;
      return 0;
    default:
      trace("fd %d: unknown ioctl %lx", file->program_fd, request);
      return fail(ENOTTY);
  }
}
