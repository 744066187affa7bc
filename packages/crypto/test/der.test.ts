import { ecdsaNumbers, encodeTlv, onlyElement } from '@webtoki/crypto'
import { describe, expect, it } from 'vitest'
import { signatureOfCertificate } from '../src/der.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

describe('the numbers of an ECDSA signature (RFC 3279, 2.2.3; DER: X.690, 8.3 and 10.1)', () => {
  const [r66, r126] = ['7f'.repeat(66), '7f'.repeat(126)]
  it.each([
    ['of one byte each', '3006 020101 020102', ['01', '02']],
    ['with a sign byte', '3008 02020080 020200ff', ['80', 'ff']],
    ['as long as those of P-521', `308188 0242${r66} 0242${r66}`, [r66, r66]],
    ['under a length of two bytes', `30820100 027e${r126} 027e${r126}`, [r126, r126]],
  ])('%s are read', (_what, text, numbers) => {
    expect(ecdsaNumbers(bytes(text)).map(hex)).toEqual(numbers)
  })

  it.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['a SET', '3106 020101 020102'],
    ['an OCTET STRING for a number', '3006 040101 020102'],
    ['a byte behind the sequence', '3006 020101 020102 00'],
    ['one number', '3003 020101'],
    ['three numbers', '3009 020101 020102 020103'],
    ['a number of no bytes', '3005 0200 020102'],
    ['a number below zero', '3006 020180 020102'],
    ['a number of no bytes, the last', '3005 020101 0200'],
    ['zero', '3006 020100 020101'],
    ['a zero in front', '3007 02020001 020102'],
    ['a number that ends behind its sequence', '3006 020101 020202'],
    ['an indefinite length', '3080 020101 020102 0000'],
    ['a short length in the long form', '308106 020101 020102'],
    ['a length with a zero in front', `30820088 0242${r66} 0242${r66}`],
    ['a length of three bytes', `3083000088 0242${r66} 0242${r66}`],
    ['a length that is cut', '3082 01'],
  ])('are not read from %s', (_what, text) => {
    expect(() => ecdsaNumbers(bytes(text))).toThrow(RangeError)
  })
})

describe('an element in DER (X.690, 10.1)', () => {
  it.each([0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000])(
    'of %i bytes is read',
    (length) => {
      const der = encodeTlv(0x04, new Uint8Array(length))
      expect(onlyElement(der).value.length).toBe(length)
      expect(() => onlyElement(der.subarray(0, -1))).toThrow(RangeError)
    },
  )

  it.each(['04 83 00ffff', '04 84 00ffffff'])('of a length with a zero in front, %s, is refused', (head) => {
    const value = new Uint8Array(head.endsWith('ffffff') ? 0xff_ffff : 0xffff)
    const whole = new Uint8Array(bytes(head).length + value.length)
    whole.set(bytes(head))
    expect(() => onlyElement(whole)).toThrow('not the shortest')
  })
})

describe('what of a certificate its issuer did not sign (RFC 5280, 4.1.1)', () => {
  /** One element, at most 127 bytes long. */
  const der = (tag: string, ...contents: readonly string[]): string => {
    const content = contents.join('').replaceAll(' ', '')
    return `${tag}${(content.length / 2).toString(16).padStart(2, '0')}${content}`
  }
  const version = 'a003020102'
  const serial = '020101'
  const algorithm = der('30', '0603 2a0304')
  const signature = der('03', '00', 'aabb')
  const signed = der('30', version, serial, algorithm, '3000')

  it('is its signature, in certificates of version 3 and of version 1', () => {
    for (const tbs of [signed, der('30', serial, algorithm, '3000')])
      expect(hex(signatureOfCertificate(bytes(der('30', tbs, algorithm, signature))))).toBe('aabb')
  })

  it.each([
    ['a fourth part', der('30', signed, algorithm, signature, '0500')],
    ['two parts', der('30', signed, algorithm)],
    ['another algorithm outside', der('30', signed, der('30', '0603 2a0305'), signature)],
    ['parameters outside alone', der('30', signed, der('30', '0603 2a0304 0500'), signature)],
    ['an algorithm outside that is no SEQUENCE', der('30', signed, der('31', '0603 2a0304'), signature)],
    [
      'an algorithm that is no SEQUENCE on either side',
      der('30', der('30', version, serial, der('31', '0603 2a0304')), der('31', '0603 2a0304'), signature),
    ],
    [
      'a signed algorithm that is no SEQUENCE',
      der('30', der('30', version, serial, der('31', '0603 2a0304')), algorithm, signature),
    ],
    ['a signed part that is no SEQUENCE', der('30', signed.replace(/^30/, '31'), algorithm, signature)],
    ['an OCTET STRING for a signature', der('30', signed, algorithm, der('04', '00', 'aabb'))],
    ['a signature of no whole bytes', der('30', signed, algorithm, der('03', '01', 'aaba'))],
  ])('is refused with %s', (_what, text) => {
    expect(() => signatureOfCertificate(bytes(text))).toThrow(RangeError)
  })
})
