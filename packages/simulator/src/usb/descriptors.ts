/** USB descriptors as bytes, and the reading of them: USB 2.0, 9.5 and 9.6. */
import { fromHex, join, readUint16le, uint16le } from '../bytes.ts'

/** What a device descriptor says (USB 2.0, 9.6.1). */
export interface DeviceDescriptorFields {
  readonly vendorId: number
  readonly productId: number
  /** bcdDevice, as 0x0105 for 1.05. */
  readonly deviceVersion: number
  readonly configurations?: number
}

/** Builds the 18 bytes; strings 1, 2, 3 are manufacturer, product and serial number, 0 where absent. */
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

/** An interface descriptor (9.6.5); `name` is the index of its string, 0 where it has none. */
export function interfaceDescriptor(
  number: number,
  alternate: number,
  endpoints: number,
  [interfaceClass, subclass, protocol]: readonly [number, number, number],
  name: number = 0,
): Uint8Array {
  return Uint8Array.of(9, 4, number, alternate, endpoints, interfaceClass, subclass, protocol, name)
}

/** An endpoint descriptor (9.6.6); the address has bit 7 set for IN. */
export function endpointDescriptor(
  address: number,
  type: 'bulk' | 'interrupt',
  packetBytes: number,
  interval: number = type === 'interrupt' ? 16 : 0,
): Uint8Array {
  return join([7, 5, address, type === 'bulk' ? 2 : 3], uint16le(packetBytes), [interval])
}

/** A configuration descriptor with all that belongs to it (9.6.3). */
export function configurationDescriptor(
  value: number,
  interfaces: number,
  parts: readonly Uint8Array[],
): Uint8Array {
  const body = join(...parts)
  return join([9, 2], uint16le(9 + body.length), [interfaces, value, 0, 0x80, 50], body)
}

/** A string descriptor (9.6.7), or for index 0 the list of languages: US English alone. */
export function stringDescriptor(text: string | undefined): Uint8Array {
  if (text === undefined) return fromHex('04030904')
  const units: number[] = []
  for (let i = 0; i < text.length; i++) units.push(text.charCodeAt(i) & 0xff, text.charCodeAt(i) >>> 8)
  return join([2 + units.length, 3], units)
}

/** An endpoint as its descriptor says. */
export interface EndpointFacts {
  readonly address: number
  readonly type: 'control' | 'isochronous' | 'bulk' | 'interrupt'
  readonly packetBytes: number
}

/** One alternate setting of an interface. */
export interface AlternateFacts {
  readonly interfaceNumber: number
  readonly alternateSetting: number
  readonly interfaceClass: number
  readonly interfaceSubclass: number
  readonly interfaceProtocol: number
  /** Index of the string that names it; 0: none does. */
  readonly nameIndex: number
  readonly endpoints: readonly EndpointFacts[]
}

/** One configuration. */
export interface ConfigurationFacts {
  readonly configurationValue: number
  readonly alternates: readonly AlternateFacts[]
}

const endpointTypes = ['control', 'isochronous', 'bulk', 'interrupt'] as const

/** Reads what the browser reads of a configuration descriptor; class descriptors are passed over. */
export function readConfiguration(bytes: Uint8Array): ConfigurationFacts {
  const alternates: (AlternateFacts & { endpoints: EndpointFacts[] })[] = []
  for (let at = 0; at + 1 < bytes.length; at += bytes[at] as number) {
    const length = bytes[at] as number
    if (length < 2) throw new RangeError('A descriptor of the virtual device has no length.')
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
