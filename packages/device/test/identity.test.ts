import { describe, expect, it } from 'vitest'
import { nameOf } from '../src/identity.ts'

const called = (manufacturerName: string, productName: string): string =>
  nameOf({ vendorId: 0x1234, productId: 0x0a, manufacturerName, productName } as USBDevice)

describe('the name of a device', () => {
  it.each([
    ['QEMU', 'QEMU USB CCID', 'QEMU USB CCID'],
    ['QEMU', 'QEMU', 'QEMU'],
    ['QEMU 8.2', 'QEMU USB CCID', 'QEMU USB CCID'],
    ['Cherry GmbH', 'CHERRY SECURE BOARD 1.0', 'CHERRY SECURE BOARD 1.0'],
    ['KOBIL Systems', 'KOBIL Class 3 Reader', 'KOBIL Class 3 Reader'],
    ['Bluink Ltd.', 'Bluink CCID', 'Bluink CCID'],
    ['ACS', 'ACSomething', 'ACSomething'],
    ['Yubico', 'YubiKey CCID', 'Yubico YubiKey CCID'],
    ['Gemplus', '', 'Gemplus'],
    ['', '', 'USB device 1234:000a'],
  ])('made by "%s" with product name "%s" is "%s"', (maker, product, name) => {
    expect(called(maker, product)).toBe(name)
  })
})
