/** Names the bits of dwFeatures in the class descriptor. CCID 1.1, table 5.1-1. */

/** Bits of dwFeatures (CCID 1.1, table 5.1-1). */
export const CcidFeature = {
  atrConfiguration: 0x02,
  activationOnInsertion: 0x04,
  automaticVoltage: 0x08,
  automaticClock: 0x10,
  automaticBaudRate: 0x20,
  automaticNegotiation: 0x40,
  automaticPps: 0x80,
  clockStop: 0x100,
  nadOtherThanZero: 0x200,
  automaticIfsd: 0x400,
  /** A token with a permanent card (ICCD 1.0, table 4.2-1). */
  iccd: 0x800,
  tpduLevel: 0x1_0000,
  shortApduLevel: 0x2_0000,
  extendedApduLevel: 0x4_0000,
  usbWakeUp: 0x10_0000,
} as const
export type CcidFeature = (typeof CcidFeature)[keyof typeof CcidFeature]
