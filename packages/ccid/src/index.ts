/** CCID smartcard readers over WebUSB as slots. CCID 1.1, ICCD 1.0. */
export { CcidFeature } from './ccid-feature.ts'
export { type Clock, nameOf, systemClock, usbSupport } from '@webtoki/device'
export {
  type CcidDescriptor,
  type CcidInterface,
  decodeCcidDescriptor,
  type Endpoint,
  type ExchangeLevel,
  findCcidInterfaces,
} from './descriptors.ts'
export { describePlan, type PlannedReader, planFor, type ReaderPlan } from './plan.ts'
export {
  firmwareOf,
  type ListedQuirk,
  listQuirks,
  type PadQuirk,
  quirkOf,
  quirksOf,
  type ReaderIds,
  type ReaderQuirk,
} from './quirks.ts'
export {
  type CcidSlotSource,
  type CcidSlotsOptions,
  ccidSlots,
  type RequestReaderOptions,
} from './source.ts'
export type { ReaderProblem, ReaderSupport } from '@webtoki/apdu'
export type { ReaderChannel, ReaderLocks } from '@webtoki/device'
