/** Encoded PIN data structures for PIV, OpenPGP and PKCS#15 cards (CCID 1.1, 6.1.11; ISO 9564-1). */
import { AbortedError, type PinPad, type PinTemplate, TransactionError } from '@webtoki/apdu'
import { createPivCard, readerProfiles } from '@webtoki/simulator'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkTemplate, modifyData, verifyData } from '../src/pin-pad.ts'
import { inTime, setUp } from './set-up.ts'

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')

const piv: PinTemplate = {
  command: bytes('00 20 00 80 08 ff ff ff ff ff ff ff ff'),
  pinOffset: 0,
  blockBytes: 8,
  format: 'ascii',
  minDigits: 6,
  maxDigits: 8,
}

describe('a PIN verification structure', () => {
  it('for PIV has ASCII digits in a block of 8 bytes filled with FF', () => {
    expect(hex(verifyData(piv, [0, 0, 0]))).toBe(
      hex(bytes('00 3c 82 08 00 08 06 02 01 09 04 00 00 00 00 00 20 00 80 08 ff ff ff ff ff ff ff ff')),
    )
  })

  it('contains the prologue of the T=1 block to send', () => {
    expect(hex(verifyData(piv, [0, 0x40, 13])).slice(24, 30)).toBe('00400d')
  })

  it('for OpenPGP has ASCII digits without a block', () => {
    const template: PinTemplate = {
      ...piv,
      command: bytes('00 20 00 82 00'),
      blockBytes: 0,
      minDigits: 6,
      maxDigits: 15,
    }
    expect(hex(verifyData(template, [0, 0, 0])).slice(0, 14)).toBe('003c8200000f06')
  })

  it('for PKCS#15 has BCD digits from the second byte of a block', () => {
    const template: PinTemplate = {
      ...piv,
      command: bytes('00 20 00 01 08 24 ff ff ff ff ff ff ff'),
      pinOffset: 1,
      blockBytes: 7,
      format: 'bcd',
      minDigits: 4,
      maxDigits: 12,
    }
    expect(hex(verifyData(template, [0, 0, 0])).slice(0, 14)).toBe('003c8907000c04')
  })
})

describe('a PIN modification structure', () => {
  const change: PinTemplate = {
    ...piv,
    command: bytes(`00 24 00 80 10 ${'ff'.repeat(16)}`),
    newPinOffset: 8,
    requiresOldPin: true,
    confirms: true,
  }

  it('for PIV has the old and the new PIN in adjacent blocks, the new one entered twice', () => {
    expect(hex(modifyData(change, [0, 0, 0]))).toBe(
      hex(
        bytes(
          `01 3c 82 08 00 00 08 08 06 03 02 03 09 04 00 01 02 00 00 00 00 24 00 80 10 ${'ff'.repeat(16)}`,
        ),
      ),
    )
  })

  it('has two prompts without the old PIN, and one fewer without confirmation', () => {
    expect(hex(modifyData({ ...change, requiresOldPin: false }, [0, 0, 0])).slice(18, 32)).toBe(
      '01020209040102',
    )
    expect(hex(modifyData({ ...change, confirms: false }, [0, 0, 0])).slice(18, 32)).toBe('02020209040001')
  })
})

describe('a PIN template', () => {
  it('whose PIN block is outside its command is refused', () => {
    expect(() => checkTemplate({ ...piv, pinOffset: 4 })).toThrow(RangeError)
    expect(() => checkTemplate({ ...piv, command: bytes('00 20 00 80 08 ff') })).toThrow(RangeError)
    expect(() => checkTemplate(piv)).not.toThrow()
  })
})

describe('a PIN pad that reports busy', () => {
  it.each(['slot-busy', 'auto-sequence'] as const)('gets the message once: %s', async (kind) => {
    const card = createPivCard({ protocols: 'T=1' })
    const { clock, reader, source, slot } = setUp({ profile: readerProfiles.dellSk3106, card })
    const connection = await inTime(clock, (await slot()).connect())
    reader.faults.schedule({ kind, ends: 'once' }, { on: 'Secure' })
    const verified = connection.transaction({}, async (channel) => channel.pinPad?.verify(piv, {}))
    await expect(inTime(clock, verified)).rejects.toThrow(/Wait a moment and try again/)
    expect(reader.counters.messages.get('Secure')).toBe(1)
    await source.close()
  })
})

describe('a PIN entry', () => {
  it('does not start for an aborted caller, or after the end of its transaction', async () => {
    const card = createPivCard({ protocols: 'T=1' })
    const { clock, reader, source, slot } = setUp({ profile: readerProfiles.dellSk3106, card })
    const connection = await inTime(clock, (await slot()).connect())
    let escaped: PinPad | undefined
    const left = connection.transaction({}, async ({ pinPad }) => {
      escaped = pinPad
      return pinPad?.verify(piv, { signal: AbortSignal.abort() })
    })
    await expect(inTime(clock, left)).rejects.toThrow(AbortedError)
    await expect(inTime(clock, Promise.resolve(escaped?.verify(piv, {})))).rejects.toThrow(TransactionError)
    expect(reader.counters.messages.get('Secure') ?? 0).toBe(0)
    await source.close()
  })
})

describe('a caller that aborts', () => {
  // The module is loaded on demand, which takes real time that the manual clock does not cover.
  beforeAll(() => import('../src/tpdu/activate.ts'))

  it('before the PIN pad gets the message starts no entry, and the next command works', async () => {
    const card = createPivCard({ protocols: 'T=1' })
    const { clock, reader, source, slot } = setUp({ profile: readerProfiles.dellSk3106, card })
    let questions = 0
    reader.person = async () => {
      questions++
      return { digits: '654321' }
    }
    const connection = await inTime(clock, (await slot()).connect())
    const leaves = new AbortController()
    const { signal } = leaves
    const verified = connection.transaction({}, async (channel) => channel.pinPad?.verify(piv, { signal }))
    // The Dell keyboard gets the message after 250 ms, when the previous key is released.
    clock.after(100, () => leaves.abort())
    await expect(inTime(clock, verified)).rejects.toThrow(AbortedError)
    const select = bytes('00 a4 04 00 09 a0 00 00 03 08 00 00 10 00')
    const response = connection.transaction({}, (channel) => channel.transmit(select))
    expect(hex(await inTime(clock, response)).slice(-4)).toBe('9000')
    expect(questions).toBe(0)
    expect(card.pinTriesLeft).toBe(3)
    await source.close()
  })
})
