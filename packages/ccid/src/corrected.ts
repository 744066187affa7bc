/** Interfaces as their descriptors should have told them: the walk of a configuration, corrected by what is known of the product. */
import { ReaderFirmwareError } from '@webtoki/apdu'
import { interfaceName } from '@webtoki/device'
import { CcidFeature } from './ccid-feature.ts'
import {
  type CcidDescriptor,
  type CcidInterface,
  type Endpoint,
  type ExchangeLevel,
  findCcidInterfaces,
} from './descriptors.ts'
import { ICCD_A, ICCD_B } from './interface-classes.ts'
import { HEADER_BYTES } from './messages.ts'
import { firmwareOf, quirkOf, type ReaderIds, type ReaderQuirk, versionOf } from './quirks.ts'

export { readConfigurationDescriptor } from './descriptors.ts'

/** A whole T=0 command, with the header of a message. */
const SHORT_MESSAGE_BYTES = 271
/** A block's prologue and LRC. */
export const BLOCK_OVERHEAD_BYTES = 4

/** One CCID interface, and what is known of its product. */
export interface CorrectedInterface extends CcidInterface {
  readonly quirk: ReaderQuirk
  /** What the interface is called among those of its device: its own name, numbered if another has it too. */
  readonly label: string
  /** Why this driver does not drive it; undefined: it does. */
  readonly refusal: string | undefined
  /** What a person should know of it, though it is used. */
  readonly warning: ReaderFirmwareError | undefined
}

/** The interfaces of a device that speak CCID, in its order. Throws MalformedError. */
export function correctedInterfaces(
  device: USBDevice,
  configuration: Uint8Array,
): readonly CorrectedInterface[] {
  const { vendorId, productId } = device
  const firmware = firmwareOf(device)
  const faces = findCcidInterfaces(configuration)
  const labels = faces.map(
    ({ interfaceNumber }) => interfaceName(device, interfaceNumber) || `interface ${interfaceNumber}`,
  )
  return faces.map((face, at) => {
    const { interfaceNumber } = face
    const { descriptor, quirk, interfaceProtocol } = corrected(
      { vendorId, productId, firmware, interfaceNumber },
      face,
    )
    const { goodFirmware } = quirk
    const label = labels[at] as string
    const equals = labels.slice(0, at).filter((other) => other === label).length
    return {
      ...face,
      descriptor,
      quirk,
      interfaceProtocol,
      label: equals === 0 ? label : `${label} ${equals + 1}`,
      refusal: refusalOf(descriptor),
      warning:
        goodFirmware === undefined
          ? undefined
          : new ReaderFirmwareError(versionOf(firmware), versionOf(goodFirmware)),
    }
  })
}

/** What an interface is, by its endpoints and its protocol. */
export function protocolOf({
  interfaceProtocol,
  endpoints,
}: Pick<CcidInterface, 'interfaceProtocol' | 'endpoints'>): number {
  // ActivCard V2 (09C3:0008) says 1 and has bulk endpoints, which no ICCD has.
  return endpoints.some(({ type }: Endpoint) => type === 'bulk') ? 0 : interfaceProtocol
}

/** The interface as it should have told. */
export function corrected(
  ids: ReaderIds,
  face: Pick<CcidInterface, 'descriptor' | 'interfaceProtocol' | 'endpoints'>,
): Pick<CorrectedInterface, 'descriptor' | 'interfaceProtocol' | 'quirk'> {
  const interfaceProtocol = protocolOf(face)
  const told = quirkOf(ids)
  const { features, maxSlotIndex } = face.descriptor
  const isToken = (features & CcidFeature.iccd) !== 0 && maxSlotIndex === 0
  const quirk = isToken && told.slotKinds === undefined ? { ...told, slotKinds: ['token'] as const } : told
  return {
    interfaceProtocol,
    descriptor: correctedDescriptor(face.descriptor, interfaceProtocol, quirk),
    quirk,
  }
}

function correctedDescriptor(
  told: CcidDescriptor,
  interfaceProtocol: number,
  quirk: ReaderQuirk,
): CcidDescriptor {
  const { maxIfsdBytes = told.maxIfsdBytes, maxDataRateBps = told.maxDataRateBps } = quirk
  const { level, maxMessageBytes } = told
  const shiftBits = quirk.isShifted === true ? 8 : 0
  // ICCD version A sends a T=0 header, then its data, and the device speaks with the card: our pipe takes TPDUs apart.
  const isCharacterA = interfaceProtocol === ICCD_A && level === 'character'
  return {
    ...told,
    protocols: told.protocols >>> shiftBits,
    defaultClockKHz: told.defaultClockKHz >>> shiftBits,
    maximumClockKHz: told.maximumClockKHz >>> shiftBits,
    maxIfsdBytes,
    maxDataRateBps: Math.min(maxDataRateBps, told.maxDataRateBps),
    features: quirk.settlesIfsd === true ? told.features | CcidFeature.automaticIfsd : told.features,
    maxMessageBytes: isCharacterA ? Math.max(SHORT_MESSAGE_BYTES, maxMessageBytes) : maxMessageBytes,
    pinSupport: quirk.noPinPad === true ? 0 : told.pinSupport,
    level: isCharacterA ? 'tpdu' : correctedLevel(level, interfaceProtocol, quirk),
  }
}

function correctedLevel(
  level: ExchangeLevel,
  interfaceProtocol: number,
  { isExtended, isShort }: ReaderQuirk,
): ExchangeLevel {
  // ICCD version B parts long APDUs by bLevelParameter at the short level too.
  if (level === 'short' && (isExtended === true || interfaceProtocol === ICCD_B)) return 'extended'
  return level === 'extended' && isShort === true ? 'short' : level
}

/** Why this driver does not drive it; undefined: it does. */
export function refusalOf({ maxMessageBytes }: CcidDescriptor): string | undefined {
  if (maxMessageBytes <= HEADER_BYTES + BLOCK_OVERHEAD_BYTES)
    return `messages of ${maxMessageBytes} bytes have no room for a command`
  return undefined
}
