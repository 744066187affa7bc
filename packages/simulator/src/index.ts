/** Virtual USB smartcard readers, cards and HID devices with the browser's WebUSB and WebHID interfaces. */
export { AppletCard, type AppletCardOptions } from './applet-card.ts'
export type { CardLogEntry, VirtualCard } from './card.ts'
export { ReaderCounters } from './ccid/counters.ts'
export {
  type Fault,
  type FaultEnd,
  type FaultKind,
  type FaultMoment,
  FaultSchedule,
  type FaultTarget,
} from './ccid/faults.ts'
export { characterReaderProfiles } from './ccid/character-profiles.ts'
export { eGate, VirtualIccdAToken } from './ccid/iccd-a-token.ts'
export { gemaltoPdt, type IccdProfile, konaToken, VirtualIccdToken } from './ccid/iccd-token.ts'
export type { MessageName } from './ccid/messages.ts'
export type { PadHabits } from './ccid/pad-habits.ts'
export type {
  PinPadPerson,
  PinEntry,
  PinEntryRequest as PinQuestion,
} from './ccid/pin-entry.ts'
export { VirtualCompositeReader } from './ccid/composite-reader.ts'
export { compositeProfiles, readerProfiles } from './ccid/profiles.ts'
export type {
  CompositeProfile,
  DeviceProfile,
  FirmwareHabits,
  InterfaceProfile,
  ReaderProfile,
} from './ccid/reader-profile.ts'
export type { VirtualReaderOptions } from './ccid/reader-options.ts'
export { VirtualCcidReader } from './ccid/reader.ts'
export { HandClock, realClock, type SimulatorClock } from './clock.ts'
export { createEchoCard, EchoCard, type EchoCardOptions } from './echo-card.ts'
export { EchoHidDevice, type HidDeviceModel, type HidPort, hasNumberedReports } from './hid/device.ts'
export type { HidCollection, HidReport } from './hid/report-descriptor.ts'
export {
  type HidDeviceFilter,
  type HidDeviceRequestOptions,
  VirtualHid,
  VirtualHidDevice,
  type VirtualHidConnectionEvent,
  type VirtualHidInputReportEvent,
  virtualHid,
  type VirtualHidOptions,
} from './hid/virtual-hid.ts'
export type { AtrProtocols } from './iso7816/answer-to-reset.ts'
export type { AppletResponse as Answer, VirtualApplet } from './iso7816/applet.ts'
export type { CommandApdu } from './iso7816/command.ts'
export type { ContactOptions } from './iso7816/contact-card.ts'
export { T0Card, type T0CardOptions } from './iso7816/t0-card.ts'
export { T1Card, type T1CardOptions } from './iso7816/t1-card.ts'
export * from './openpgp/index.ts'
export * from './piv/index.ts'
export { ScriptedCard, type ScriptStep } from './scripted-card.ts'
export type { ControlSetup, InResult, UsbDeviceModel, UsbPort } from './usb/device-model.ts'
export { InQueue } from './usb/in-queue.ts'
export { PacketDevice, type PacketDeviceParts } from './usb/packet-device.ts'
export type { VirtualUsbOptions } from './usb/browser-options.ts'
export { PluggedDevice } from './usb/plugged-device.ts'
export { VirtualBus, virtualUsb } from './usb/virtual-bus.ts'
export { VirtualUsb } from './usb/virtual-usb.ts'
export { VirtualUsbDevice } from './usb/virtual-usb-device.ts'
