/**
 * CCID interfaces with the errors of their descriptors corrected: applies `quirks.ts` to the interfaces of a
 * configuration.
 */
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

/** A complete T=0 command with the header of a message. */
const SHORT_MESSAGE_BYTES = 271
/** Prologue and LRC of a T=1 block. */
export const BLOCK_OVERHEAD_BYTES = 4

/** One CCID interface with its quirks. */
export interface CorrectedInterface extends CcidInterface {
  readonly quirk: ReaderQuirk
  /** The interface's name within its device; numbered if another interface has the same name. */
  readonly label: string
  /** Why this driver does not support the interface; undefined if it does. */
  readonly refusal: string | undefined
  /** A problem that does not prevent use. */
  readonly warning: ReaderFirmwareError | undefined
}

/** Returns the CCID interfaces of a device in descriptor order. Throws MalformedError. */
export function correctedInterfaces(
  device: USBDevice,
  configuration: Uint8Array,
): readonly CorrectedInterface[] {
  const { vendorId, productId } = device
  const firmware = firmwareOf(device)
  const usbInterfaces = findCcidInterfaces(configuration)
  const labels = usbInterfaces.map(
    ({ interfaceNumber }) => interfaceName(device, interfaceNumber) || `interface ${interfaceNumber}`,
  )
  return usbInterfaces.map((usbInterface, at) => {
    const { interfaceNumber } = usbInterface
    const { descriptor, quirk, interfaceProtocol } = corrected(
      { vendorId, productId, firmware, interfaceNumber },
      usbInterface,
    )
    const { goodFirmware } = quirk
    const label = labels[at] as string
    const sameLabels = labels.slice(0, at).filter((other) => other === label).length
    return {
      ...usbInterface,
      descriptor,
      quirk,
      interfaceProtocol,
      label: sameLabels === 0 ? label : `${label} ${sameLabels + 1}`,
      refusal: refusalOf(descriptor),
      warning:
        goodFirmware === undefined
          ? undefined
          : new ReaderFirmwareError(versionOf(firmware), versionOf(goodFirmware)),
    }
  })
}

/** The interface protocol: 0 for CCID with bulk endpoints, 1 and 2 for ICCD. */
export function protocolOf({
  interfaceProtocol,
  endpoints,
}: Pick<CcidInterface, 'interfaceProtocol' | 'endpoints'>): number {
  // ActivCard V2 (09C3:0008) states 1 and has bulk endpoints, which an ICCD device cannot have.
  return endpoints.some(({ type }: Endpoint) => type === 'bulk') ? 0 : interfaceProtocol
}

/** Returns what the interface's descriptor should have stated. */
export function corrected(
  ids: ReaderIds,
  usbInterface: Pick<CcidInterface, 'descriptor' | 'interfaceProtocol' | 'endpoints'>,
): Pick<CorrectedInterface, 'descriptor' | 'interfaceProtocol' | 'quirk'> {
  const interfaceProtocol = protocolOf(usbInterface)
  const listed = quirkOf(ids)
  const { features, maxSlotIndex } = usbInterface.descriptor
  const isToken = (features & CcidFeature.iccd) !== 0 && maxSlotIndex === 0
  const quirk =
    isToken && listed.slotKinds === undefined ? { ...listed, slotKinds: ['token'] as const } : listed
  return {
    interfaceProtocol,
    descriptor: correctedDescriptor(usbInterface.descriptor, interfaceProtocol, quirk),
    quirk,
  }
}

function correctedDescriptor(
  stated: CcidDescriptor,
  interfaceProtocol: number,
  quirk: ReaderQuirk,
): CcidDescriptor {
  const { maxIfsdBytes = stated.maxIfsdBytes, maxDataRateBps = stated.maxDataRateBps } = quirk
  const { level, maxMessageBytes } = stated
  const shiftBits = quirk.isShifted === true ? 8 : 0
  // An ICCD version A device takes a T=0 header, then its data, and talks to the card itself. The pipe splits TPDUs
  // accordingly.
  const isCharacterA = interfaceProtocol === ICCD_A && level === 'character'
  return {
    ...stated,
    protocols: stated.protocols >>> shiftBits,
    defaultClockKHz: stated.defaultClockKHz >>> shiftBits,
    maximumClockKHz: stated.maximumClockKHz >>> shiftBits,
    maxIfsdBytes,
    maxDataRateBps: Math.min(maxDataRateBps, stated.maxDataRateBps),
    features: quirk.settlesIfsd === true ? stated.features | CcidFeature.automaticIfsd : stated.features,
    maxMessageBytes: isCharacterA ? Math.max(SHORT_MESSAGE_BYTES, maxMessageBytes) : maxMessageBytes,
    pinSupport: quirk.noPinPad === true ? 0 : stated.pinSupport,
    level: isCharacterA ? 'tpdu' : correctedLevel(level, interfaceProtocol, quirk),
  }
}

function correctedLevel(
  level: ExchangeLevel,
  interfaceProtocol: number,
  { isExtended, isShort }: ReaderQuirk,
): ExchangeLevel {
  // ICCD version B splits long APDUs with bLevelParameter at short APDU level too.
  if (level === 'short' && (isExtended === true || interfaceProtocol === ICCD_B)) return 'extended'
  return level === 'extended' && isShort === true ? 'short' : level
}

/** Why this driver does not support a reader with this descriptor; undefined if it does. */
export function refusalOf({ maxMessageBytes }: CcidDescriptor): string | undefined {
  if (maxMessageBytes <= HEADER_BYTES + BLOCK_OVERHEAD_BYTES)
    return `messages of ${maxMessageBytes} bytes are too short for a command`
  return undefined
}
