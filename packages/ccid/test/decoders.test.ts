import { translateUsbError } from '@webtoki/device'
import { MalformedError } from '@webtoki/apdu'
import { readerProfiles } from '@webtoki/simulator'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeCcidDescriptor, findCcidInterfaces, readConfigurationDescriptor } from '../src/descriptors.ts'
import { ccidErrorName, decodeResponse, decodeInterruptMessage, encodeXfrBlock } from '../src/messages.ts'

function typed(work: () => unknown): boolean {
  try {
    work()
    return true
  } catch (error) {
    return error instanceof MalformedError
  }
}

describe('the descriptors of a reader', () => {
  it('are decoded field by field', () => {
    const bytes = Uint8Array.from(Buffer.from(readerProfiles.dualiAbcm6.ccidDescriptor, 'hex'))
    expect(decodeCcidDescriptor(bytes)).toMatchObject({
      bcdCcid: 0x0110,
      maxSlotIndex: 0,
      voltageSupport: 3,
      protocols: 3,
      defaultClockKHz: 3600,
      dataRateBps: 9677,
      maxDataRateBps: 619_354,
      maxIfsdBytes: 254,
      features: 263_866,
      maxMessageBytes: 1014,
      maxBusySlots: 1,
      level: 'extended',
    })
  })

  it('are decoded from any bytes, or refused with a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(typed(() => findCcidInterfaces(bytes))).toBe(true)
        expect(typed(() => decodeCcidDescriptor(bytes))).toBe(true)
        expect(typed(() => decodeResponse(bytes))).toBe(true)
        expect(typed(() => decodeInterruptMessage(bytes))).toBe(true)
      }),
    )
  })

  it('with any one byte changed are decoded or refused in finite time', () => {
    const interfaceDescriptor = [9, 4, 0, 0, 2, 0xff, 0, 0, 0]
    const ccid = [...Buffer.from(readerProfiles.dualiAbcm6.ccidDescriptor, 'hex')]
    const endpoints = [7, 5, 0x81, 2, 64, 0, 0, 7, 5, 0x02, 2, 64, 0, 0]
    const body = [...interfaceDescriptor, ...ccid, ...endpoints]
    const whole = Uint8Array.from([9, 2, 9 + body.length, 0, 1, 1, 0, 0x80, 50, ...body])
    expect(findCcidInterfaces(whole)).toHaveLength(1)
    for (let at = 0; at < whole.length; at++) {
      for (const value of [0, 1, 0x7f, 0xff]) {
        const changed = whole.slice()
        changed[at] = value
        expect(typed(() => findCcidInterfaces(changed))).toBe(true)
      }
    }
  })

  it('are refused if the device sends fewer bytes than declared, or stalls', async () => {
    const giving = (bytes: number[] | undefined) => ({
      controlTransferIn: async () =>
        (bytes === undefined
          ? { status: 'stall' }
          : { status: 'ok', data: new DataView(Uint8Array.from(bytes).buffer) }) as USBInTransferResult,
    })
    await expect(readConfigurationDescriptor(giving(undefined), 0)).rejects.toBeInstanceOf(MalformedError)
    await expect(readConfigurationDescriptor(giving([9, 2, 0xff]), 0)).rejects.toBeInstanceOf(MalformedError)
  })
})

describe('messages', () => {
  it('are encoded as the standard prints them', () => {
    const message = encodeXfrBlock({
      slot: 1,
      sequence: 0x22,
      chain: 0x10,
      waitingExtension: 3,
      data: Uint8Array.of(0xaa, 0xbb),
    })
    expect([...message]).toEqual([0x6f, 2, 0, 0, 0, 1, 0x22, 3, 0x10, 0, 0xaa, 0xbb])
  })

  it('with a declared length of 4 GB are refused without allocating memory', () => {
    const lie = Uint8Array.of(0x80, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0)
    expect(() => decodeResponse(lie)).toThrow(/4294967295/)
  })

  it('with an error get the standard’s name of it', () => {
    expect(ccidErrorName(0xfe)).toBe('ICC_MUTE')
    expect(ccidErrorName(5)).toBe('SLOT_DOES_NOT_EXIST')
    expect(ccidErrorName(8)).toBe('BAD_PARAMETER_AT_8')
    expect(ccidErrorName(0xa2)).toBe('VENDOR_A2')
  })
})

describe('an error of the browser', () => {
  it.each([
    [
      'claim',
      'SecurityError',
      'The requested interface implements a protected class.',
      'reader/protected-class',
    ],
    ['claim', 'NetworkError', 'Unable to claim interface.', 'reader/in-use'],
    ['open', 'SecurityError', 'Access denied.', 'reader/not-granted'],
    ['open', 'NetworkError', 'Access denied.', 'reader/not-granted'],
    ['transfer', 'NetworkError', 'The device was disconnected.', 'reader/gone'],
    ['transfer', 'AbortError', 'The transfer was cancelled.', 'reader/gone'],
    ['transfer', 'NotFoundError', 'The device was disconnected.', 'reader/gone'],
  ] as const)('at %s, %s (%s) becomes %s', (call, name, message, code) => {
    expect(translateUsbError(call, new DOMException(message, name)).code).toBe(code)
  })
})
