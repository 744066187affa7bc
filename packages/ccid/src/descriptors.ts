/** Decodes USB configuration descriptors (USB 2.0, 9.6) and the CCID class descriptor in them (CCID 1.1, 5.1). */
// Preserved in the declarations, because they name WebUSB types, which TypeScript does not provide.
/// <reference types="w3c-web-usb" preserve="true" />
import { dataViewOf, MalformedError, viewOf } from '@webtoki/apdu'
import { SMART_CARD_CLASS, VENDOR_CLASS } from './interface-classes.ts'

const CONFIGURATION_DESCRIPTOR = 0x02
const INTERFACE_DESCRIPTOR = 0x04
const ENDPOINT_DESCRIPTOR = 0x05
const CCID_DESCRIPTOR = 0x21
/** Five dumps of vendor-class readers in the collection have this type instead of 0x21. */
const CCID_DESCRIPTOR_ODD = 0xff
const CCID_DESCRIPTOR_BYTES = 54

/** What one message carries: characters, T=0 or T=1 TPDUs, short APDUs or extended APDUs. */
export type ExchangeLevel = 'character' | 'tpdu' | 'short' | 'extended'

/** The smart card device class descriptor (CCID 1.1, 5.1). */
export interface CcidDescriptor {
  readonly bcdCcid: number
  readonly maxSlotIndex: number
  /** Bits: 1 for 5 V, 2 for 3 V, 4 for 1.8 V. */
  readonly voltageSupport: number
  /** Bits: 1 for T=0, 2 for T=1. */
  readonly protocols: number
  readonly defaultClockKHz: number
  readonly maximumClockKHz: number
  readonly clockCount: number
  readonly dataRateBps: number
  readonly maxDataRateBps: number
  readonly dataRateCount: number
  readonly maxIfsdBytes: number
  readonly synchronousProtocols: number
  readonly mechanical: number
  readonly features: number
  readonly maxMessageBytes: number
  readonly classGetResponse: number
  readonly classEnvelope: number
  readonly lcdLayout: number
  readonly pinSupport: number
  readonly maxBusySlots: number
  /** The exchange level that `features` states. */
  readonly level: ExchangeLevel
}

/** One bulk or interrupt endpoint of an interface. */
export interface Endpoint {
  readonly number: number
  readonly direction: 'in' | 'out'
  readonly type: 'control' | 'isochronous' | 'bulk' | 'interrupt'
  readonly packetBytes: number
}

/** One CCID interface, as the configuration descriptor states it. */
export interface CcidInterface {
  readonly configurationValue: number
  readonly interfaceNumber: number
  readonly alternateSetting: number
  readonly interfaceClass: number
  /** 0: CCID with bulk endpoints; 1 and 2: ICCD on the control pipe. */
  readonly interfaceProtocol: number
  readonly descriptor: CcidDescriptor
  readonly endpoints: readonly Endpoint[]
}

/** Decodes the 54 bytes of the class descriptor. Throws MalformedError. */
export function decodeCcidDescriptor(bytes: Uint8Array): CcidDescriptor {
  if (bytes.length < CCID_DESCRIPTOR_BYTES || bytes[0] !== CCID_DESCRIPTOR_BYTES) {
    throw new MalformedError('CCID descriptor', `${bytes.length} bytes, bLength ${bytes[0] ?? 'missing'}`)
  }
  if (bytes[1] !== CCID_DESCRIPTOR && bytes[1] !== CCID_DESCRIPTOR_ODD) {
    throw new MalformedError('CCID descriptor', `bDescriptorType ${bytes[1]}`)
  }
  const view = dataViewOf(bytes)
  const features = view.getUint32(40, true)
  return {
    bcdCcid: view.getUint16(2, true),
    maxSlotIndex: view.getUint8(4),
    voltageSupport: view.getUint8(5),
    protocols: view.getUint32(6, true),
    defaultClockKHz: view.getUint32(10, true),
    maximumClockKHz: view.getUint32(14, true),
    clockCount: view.getUint8(18),
    dataRateBps: view.getUint32(19, true),
    maxDataRateBps: view.getUint32(23, true),
    dataRateCount: view.getUint8(27),
    maxIfsdBytes: view.getUint32(28, true),
    synchronousProtocols: view.getUint32(32, true),
    mechanical: view.getUint32(36, true),
    features,
    maxMessageBytes: view.getUint32(44, true),
    classGetResponse: view.getUint8(48),
    classEnvelope: view.getUint8(49),
    lcdLayout: view.getUint16(50, true),
    pinSupport: view.getUint8(52),
    maxBusySlots: view.getUint8(53),
    level: levelOf(features),
  }
}

/** Uses the bits as numbers, because `CcidFeature` is loaded on demand. */
function levelOf(features: number): ExchangeLevel {
  if (features & 0x4_0000) return 'extended'
  if (features & 0x2_0000) return 'short'
  if (features & 0x1_0000) return 'tpdu'
  return 'character'
}

interface PartialInterface {
  readonly interfaceNumber: number
  readonly alternateSetting: number
  readonly interfaceClass: number
  readonly interfaceProtocol: number
  readonly endpoints: Endpoint[]
  descriptor: CcidDescriptor | undefined
}

/**
 * Returns the CCID interfaces of a configuration descriptor in its order. Throws MalformedError.
 *
 * The class descriptor may be anywhere between its interface descriptor and the next one: some firmware puts it after
 * the last endpoint. At an invalid length the search stops and returns what it has found, so that a bad descriptor of
 * another interface does not exclude the reader.
 */
export function findCcidInterfaces(configuration: Uint8Array): CcidInterface[] {
  if (configuration.length < 9 || configuration[1] !== CONFIGURATION_DESCRIPTOR) {
    throw new MalformedError(
      'configuration descriptor',
      `${configuration.length} bytes, bDescriptorType ${configuration[1] ?? 'missing'}`,
    )
  }
  const configurationValue = configuration[5] ?? 1
  const found: PartialInterface[] = []
  let current: PartialInterface | undefined
  // wTotalLength may be wrong, so the number of received bytes counts.
  for (let offset = 0; offset + 2 <= configuration.length; ) {
    const lengthBytes = configuration[offset] ?? 0
    if (lengthBytes < 2 || offset + lengthBytes > configuration.length) break
    const item = configuration.subarray(offset, offset + lengthBytes)
    offset += lengthBytes
    if (item[1] === INTERFACE_DESCRIPTOR && item.length >= 9) {
      current = {
        interfaceNumber: item[2] ?? 0,
        alternateSetting: item[3] ?? 0,
        interfaceClass: item[5] ?? 0,
        interfaceProtocol: item[7] ?? 0,
        endpoints: [],
        descriptor: undefined,
      }
      found.push(current)
    } else if (item[1] === ENDPOINT_DESCRIPTOR && item.length >= 7) {
      current?.endpoints.push(decodeEndpoint(item))
    } else if (isClassDescriptor(item) && current !== undefined && isCcidClass(current.interfaceClass)) {
      current.descriptor ??= decodeCcidDescriptor(item)
    }
  }
  const interfaces: CcidInterface[] = []
  for (const { descriptor, ...rest } of found) {
    if (descriptor === undefined) continue
    if (interfaces.some((other) => other.interfaceNumber === rest.interfaceNumber)) continue
    interfaces.push({ configurationValue, ...rest, descriptor })
  }
  return interfaces
}

/** Checks the length too, because HID also uses type 0x21. */
function isClassDescriptor(item: Uint8Array): boolean {
  return (
    item.length === CCID_DESCRIPTOR_BYTES && (item[1] === CCID_DESCRIPTOR || item[1] === CCID_DESCRIPTOR_ODD)
  )
}

function isCcidClass(interfaceClass: number): boolean {
  return interfaceClass === SMART_CARD_CLASS || interfaceClass === VENDOR_CLASS
}

const endpointTypes = ['control', 'isochronous', 'bulk', 'interrupt'] as const

function decodeEndpoint(item: Uint8Array): Endpoint {
  const address = item[2] ?? 0
  const packetBytes = ((item[4] ?? 0) | ((item[5] ?? 0) << 8)) & 0x7ff
  return {
    number: address & 0x0f,
    direction: address & 0x80 ? 'in' : 'out',
    type: endpointTypes[(item[3] ?? 0) & 3] ?? 'control',
    packetBytes,
  }
}

/** The part of an open `USBDevice` that reads descriptors. */
export type DescriptorSource = Pick<USBDevice, 'controlTransferIn'>

/**
 * Reads a complete configuration descriptor. WebUSB does not expose class descriptors, but lets a page read this one
 * even if it may not claim the interface. Rejects with MalformedError.
 */
export async function readConfigurationDescriptor(
  device: DescriptorSource,
  index: number,
): Promise<Uint8Array> {
  const head = await getDescriptor(device, index, 9)
  if (head.length < 9 || head[1] !== CONFIGURATION_DESCRIPTOR) {
    throw new MalformedError('configuration descriptor', `${head.length} bytes instead of a 9-byte header`)
  }
  const totalBytes = (head[2] ?? 0) | ((head[3] ?? 0) << 8)
  return totalBytes <= 9 ? head : await getDescriptor(device, index, totalBytes)
}

async function getDescriptor(
  device: DescriptorSource,
  index: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  const result = await device.controlTransferIn(
    {
      requestType: 'standard',
      recipient: 'device',
      request: 0x06,
      value: (CONFIGURATION_DESCRIPTOR << 8) | index,
      index: 0,
    },
    lengthBytes,
  )
  if (result.status !== 'ok' || result.data === undefined) {
    throw new MalformedError('configuration descriptor', `GET_DESCRIPTOR ended with ${result.status}`)
  }
  return viewOf(result.data)
}
