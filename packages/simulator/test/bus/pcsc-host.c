/* A PC/SC client for tests of readers with pcscd and libccid. It reads one command per line and writes one response. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <reader.h>
#include <winscard.h>

static void respond(const char *text, const unsigned char *data, DWORD bytes) {
  printf("answer %s%s", text, bytes ? " " : "");
  for (DWORD i = 0; i < bytes; i++) printf("%02x", data[i]);
  putchar('\n');
  fflush(stdout);
}

static SCARDHANDLE card;
static char reader[MAX_READERNAME];
static SCARD_READERSTATE state = {.szReader = reader};

/* Copies the name of pcscd's reader with this number to `reader`. Waits up to 0.2 s if it is not ready. */
static LONG find(SCARDCONTEXT context, int number) {
  SCARD_READERSTATE plug = {.szReader = "\\\\?PnP?\\Notification"};
  char names[4096] = "";
  DWORD length = sizeof names;
  LONG result = SCardListReaders(context, NULL, names, &length);
  if (result != SCARD_S_SUCCESS && result != SCARD_E_NO_READERS_AVAILABLE) return result;
  const char *name = names;
  for (int before = number; *name && before > 0; before--) name += strlen(name) + 1;
  if (!*name) {
    SCardGetStatusChange(context, 200, &plug, 1);
    return SCARD_E_NO_READERS_AVAILABLE;
  }
  snprintf(reader, sizeof reader, "%.127s", name);
  state.dwCurrentState = SCARD_STATE_UNAWARE;
  result = SCardGetStatusChange(context, 0, &state, 1);
  if (result == SCARD_S_SUCCESS && state.dwEventState & (SCARD_STATE_PRESENT | SCARD_STATE_EMPTY)) return result;
  usleep(10000);
  return SCARD_E_NO_READERS_AVAILABLE;
}

/* Sends data to the control code that the reader has for a feature (PC/SC part 10, 2.2). */
static LONG feature(unsigned char tag, const unsigned char *data, DWORD bytes, unsigned char *got, DWORD capacity,
                    DWORD *length) {
  unsigned char list[512];
  DWORD code = 0, listed = 0;
  LONG result = SCardControl(card, SCARD_CTL_CODE(3400), NULL, 0, list, sizeof list, &listed);
  for (DWORD i = 0; result == SCARD_S_SUCCESS && i + 6 <= listed; i += 2 + list[i + 1])
    if (list[i] == tag) code = (DWORD)list[i + 2] << 24 | (DWORD)list[i + 3] << 16 | (DWORD)list[i + 4] << 8 | list[i + 5];
  if (result != SCARD_S_SUCCESS) return result;
  return code ? SCardControl(card, code, data, bytes, got, capacity, length) : SCARD_E_UNSUPPORTED_FEATURE;
}

int main(void) {
  static char line[1 << 18];
  static unsigned char command[1 << 17], response[1 << 17];
  SCARDCONTEXT context;
  DWORD protocol = SCARD_PROTOCOL_T1;
  LONG result;
  while ((result = SCardEstablishContext(SCARD_SCOPE_SYSTEM, NULL, NULL, &context)) == SCARD_E_NO_SERVICE) usleep(10000);
  respond(pcsc_stringify_error(result), NULL, 0);
  while (fgets(line, sizeof line, stdin)) {
    char verb[32] = "";
    int at = 0;
    sscanf(line, "%31s %n", verb, &at);
    DWORD bytes = 0;
    if (!strcmp(verb, "reader")) {
      /*
       * "reader" or "reader N": waits up to 10 s until the first reader, or reader N of pcscd's list, is ready. pcscd
       * lists a reader while it still writes its name, and removes it again if the start of the reader fails. A reader
       * has started when its slot is reported as empty or present.
       */
      const int number = atoi(line + at);
      const time_t end = time(NULL) + 10;
      do {
        result = find(context, number);
      } while (result == SCARD_E_NO_READERS_AVAILABLE && time(NULL) < end);
      if (result == SCARD_S_SUCCESS) printf("answer %s\n", reader);
      else printf("answer none: %s\n", pcsc_stringify_error(result));
      fflush(stdout);
      continue;
    }
    if (!strcmp(verb, "wait")) {
      /* "wait present", "wait empty" or "wait gone": waits up to 10 s for this state of the reader. */
      DWORD requested = strstr(line, "present") ? SCARD_STATE_PRESENT : strstr(line, "empty") ? SCARD_STATE_EMPTY
                                                                                             : SCARD_STATE_UNKNOWN;
      state.dwCurrentState = SCARD_STATE_UNAWARE;
      do {
        result = SCardGetStatusChange(context, 10000, &state, 1);
        state.dwCurrentState = state.dwEventState & ~(DWORD)SCARD_STATE_CHANGED;
      } while (result == SCARD_S_SUCCESS && !(state.dwEventState & requested) &&
               !(state.dwEventState & SCARD_STATE_UNKNOWN));
      if (requested == SCARD_STATE_UNKNOWN && result == SCARD_E_UNKNOWN_READER) result = SCARD_S_SUCCESS;
      else if (result == SCARD_S_SUCCESS && (state.dwEventState & requested)) {
        respond("ok", state.rgbAtr, requested == SCARD_STATE_PRESENT ? state.cbAtr : 0);
        continue;
      } else if (result == SCARD_S_SUCCESS) result = SCARD_E_UNKNOWN_READER;
    }
    if (!strcmp(verb, "connect")) {
      /* "connect", "connect T=0" or "connect T=1"; "connect direct" connects to the reader even without a card. */
      DWORD requested = strstr(line, "T=0") ? SCARD_PROTOCOL_T0 : strstr(line, "T=1") ? SCARD_PROTOCOL_T1
                                                                                      : SCARD_PROTOCOL_T0 | SCARD_PROTOCOL_T1;
      result = strstr(line, "direct") ? SCardConnect(context, reader, SCARD_SHARE_DIRECT, 0, &card, &protocol)
                                      : SCardConnect(context, reader, SCARD_SHARE_SHARED, requested, &card, &protocol);
    }
    if (!strcmp(verb, "features")) {
      /* "features": returns the raw list of features. */
      DWORD length = 0;
      result = SCardControl(card, SCARD_CTL_CODE(3400), NULL, 0, response, sizeof response, &length);
      if (result == SCARD_S_SUCCESS) {
        respond("ok", response, length);
        continue;
      }
    }
    if (!strcmp(verb, "feature")) {
      /* "feature TAG DATA": 06 verifies and 07 modifies a PIN at the PIN pad, 0a and 12 return reader properties. */
      unsigned tag = 0;
      int skipped = 0;
      DWORD length = 0;
      sscanf(line + at, "%2x %n", &tag, &skipped);
      at += skipped;
      for (unsigned value; sscanf(line + at + 2 * bytes, "%2x", &value) == 1;) command[bytes++] = (unsigned char)value;
      result = feature((unsigned char)tag, command, bytes, response, sizeof response, &length);
      if (result == SCARD_S_SUCCESS) {
        respond("ok", response, length);
        continue;
      }
    }
    if (!strcmp(verb, "disconnect")) result = SCardDisconnect(card, SCARD_LEAVE_CARD);
    if (!strcmp(verb, "transmit")) {
      for (unsigned value; sscanf(line + at + 2 * bytes, "%2x", &value) == 1;) command[bytes++] = (unsigned char)value;
      DWORD length = sizeof response;
      const SCARD_IO_REQUEST *io = protocol == SCARD_PROTOCOL_T0 ? SCARD_PCI_T0 : SCARD_PCI_T1;
      result = SCardTransmit(card, io, command, bytes, NULL, response, &length);
      if (result == SCARD_S_SUCCESS) {
        respond("ok", response, length);
        continue;
      }
    }
    respond(result == SCARD_S_SUCCESS ? "ok" : pcsc_stringify_error(result), NULL, 0);
  }
  return 0;
}
