/** Encodes and parses USB descriptors (USB 2.0, 9.5 and 9.6). */
import { fromHex, join, readUint16le, uint16le } from '../bytes.ts'

/** Fields of a device descriptor (9.6.1). */
export interface DeviceDescriptorFields {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice, such as 0x0105 for 1.05. */
  readonly deviceVersion: number
  /** Default 1. */
  readonly configurations?: number
}

/**
 * Encodes a device descriptor. Strings 1, 2 and 3 are manufacturer, product and serial number; the index of a missing
 * one is 0.
 */
export function deviceDescriptor(
  fields: DeviceDescriptorFields,
  strings: { readonly manufacturer: boolean; readonly product: boolean; readonly serialNumber: boolean },
): Uint8Array {
  return join(
    [18, 1],
    uint16le(0x0200),
    [0, 0, 0, 64],
    uint16le(fields.vendorId),
    uint16le(fields.productId),
    uint16le(fields.deviceVersion),
    [strings.manufacturer ? 1 : 0, strings.product ? 2 : 0, strings.serialNumber ? 3 : 0],
    [fields.configurations ?? 1],
  )
}

/** Encodes an interface descriptor (9.6.5). `name` is its string index, or 0 if it has no name. */
export function interfaceDescriptor(
  number: number,
  alternate: number,
  endpoints: number,
  [interfaceClass, subclass, protocol]: readonly [number, number, number],
  name: number = 0,
): Uint8Array {
  return Uint8Array.of(9, 4, number, alternate, endpoints, interfaceClass, subclass, protocol, name)
}

/** Encodes an endpoint descriptor (9.6.6). The address has bit 7 set for IN. */
export function endpointDescriptor(
  address: number,
  type: 'bulk' | 'interrupt',
  packetBytes: number,
  interval: number = type === 'interrupt' ? 16 : 0,
): Uint8Array {
  return join([7, 5, address, type === 'bulk' ? 2 : 3], uint16le(packetBytes), [interval])
}

/** Encodes a configuration descriptor with the descriptors of its interfaces (9.6.3). */
export function configurationDescriptor(
  value: number,
  interfaces: number,
  parts: readonly Uint8Array[],
): Uint8Array {
  const body = join(...parts)
  return join([9, 2], uint16le(9 + body.length), [interfaces, value, 0, 0x80, 50], body)
}

/** Encodes a string descriptor (9.6.7). Without text, encodes the list of languages for index 0, with US English only. */
export function stringDescriptor(text: string | undefined): Uint8Array {
  if (text === undefined) return fromHex('04030904')
  const units: number[] = []
  for (let i = 0; i < text.length; i++) units.push(text.charCodeAt(i) & 0xff, text.charCodeAt(i) >>> 8)
  return join([2 + units.length, 3], units)
}

/** A parsed endpoint descriptor. */
export interface EndpointFacts {
  readonly address: number
  readonly type: 'control' | 'isochronous' | 'bulk' | 'interrupt'
  readonly packetBytes: number
}

/** An alternate setting of an interface. */
export interface AlternateFacts {
  readonly interfaceNumber: number
  readonly alternateSetting: number
  readonly interfaceClass: number
  readonly interfaceSubclass: number
  readonly interfaceProtocol: number
  /** String index of its name, or 0 if it has no name. */
  readonly nameIndex: number
  readonly endpoints: readonly EndpointFacts[]
}

/** A configuration with its alternate settings. */
export interface ConfigurationFacts {
  readonly configurationValue: number
  readonly alternates: readonly AlternateFacts[]
}

const endpointTypes = ['control', 'isochronous', 'bulk', 'interrupt'] as const

/**
 * Parses the parts of a configuration descriptor that the browser reads. Skips class descriptors. Throws RangeError for
 * a descriptor without a valid length.
 */
export function readConfiguration(bytes: Uint8Array): ConfigurationFacts {
  const alternates: (AlternateFacts & { endpoints: EndpointFacts[] })[] = []
  for (let at = 0; at + 1 < bytes.length; at += bytes[at] as number) {
    const length = bytes[at] as number
    if (length < 2)
      throw new RangeError(`A descriptor of the virtual device has the invalid length ${length}.`)
    const byte = (offset: number): number => bytes[at + offset] ?? 0
    if (bytes[at + 1] === 4) {
      alternates.push({
        interfaceNumber: byte(2),
        alternateSetting: byte(3),
        interfaceClass: byte(5),
        interfaceSubclass: byte(6),
        interfaceProtocol: byte(7),
        nameIndex: byte(8),
        endpoints: [],
      })
    } else if (bytes[at + 1] === 5) {
      alternates.at(-1)?.endpoints.push({
        address: byte(2),
        type: endpointTypes[byte(3) & 3] as EndpointFacts['type'],
        packetBytes: readUint16le(bytes, at + 4) & 0x7ff,
      })
    }
  }
  return { configurationValue: bytes[5] ?? 0, alternates }
}
