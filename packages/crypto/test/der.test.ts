/** Strict DER: elements, ECDSA signatures, and the unsigned parts of certificates. */
import { ecdsaNumbers, encodeTlv, onlyElement } from '@webtoki/crypto'
import { describe, expect, it } from 'vitest'
import { signatureOfCertificate } from '../src/der.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

describe('r and s of an ECDSA signature (RFC 3279, 2.2.3; X.690, 8.3 and 10.1)', () => {
  const [r66, r126] = ['7f'.repeat(66), '7f'.repeat(126)]
  it.each([
    ['with one byte each', '3006 020101 020102', ['01', '02']],
    ['with sign bytes', '3008 02020080 020200ff', ['80', 'ff']],
    ['of the length of P-521', `308188 0242${r66} 0242${r66}`, [r66, r66]],
    ['in a SEQUENCE with a length field of two bytes', `30820100 027e${r126} 027e${r126}`, [r126, r126]],
  ])('%s are decoded', (_what, text, numbers) => {
    expect(ecdsaNumbers(bytes(text)).map(hex)).toEqual(numbers)
  })

  it.each([
    ['no bytes', ''],
    ['a tag without a length', '30'],
    ['a SET', '3106 020101 020102'],
    ['an OCTET STRING instead of r', '3006 040101 020102'],
    ['a byte after the SEQUENCE', '3006 020101 020102 00'],
    ['one number', '3003 020101'],
    ['three numbers', '3009 020101 020102 020103'],
    ['an empty r', '3005 0200 020102'],
    ['a negative r', '3006 020180 020102'],
    ['an empty s', '3005 020101 0200'],
    ['an r of zero', '3006 020100 020101'],
    ['an r with a leading zero', '3007 02020001 020102'],
    ['an s that is longer than the SEQUENCE', '3006 020101 020202'],
    ['an indefinite length', '3080 020101 020102 0000'],
    ['a length below 128 in the long form', '308106 020101 020102'],
    ['a length with a leading zero', `30820088 0242${r66} 0242${r66}`],
    ['a length with two leading zeros', `3083000088 0242${r66} 0242${r66}`],
    ['a truncated length', '3082 01'],
  ])('are refused in %s', (_what, text) => {
    expect(() => ecdsaNumbers(bytes(text))).toThrow(RangeError)
  })
})

describe('a DER element (X.690, 10.1)', () => {
  it.each([0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000])(
    'of %i bytes is decoded',
    (length) => {
      const der = encodeTlv(0x04, new Uint8Array(length))
      expect(onlyElement(der).value.length).toBe(length)
      expect(() => onlyElement(der.subarray(0, -1))).toThrow(RangeError)
    },
  )

  it.each(['04 83 00ffff', '04 84 00ffffff'])('with leading zeros in its length, %s, is refused', (head) => {
    const value = new Uint8Array(head.endsWith('ffffff') ? 0xff_ffff : 0xffff)
    const whole = new Uint8Array(bytes(head).length + value.length)
    whole.set(bytes(head))
    expect(() => onlyElement(whole)).toThrow('not minimal')
  })
})

describe('a certificate (RFC 5280, 4.1.1)', () => {
  /** Encodes one element of at most 127 bytes. */
  const der = (tag: string, ...contents: readonly string[]): string => {
    const content = contents.join('').replaceAll(' ', '')
    return `${tag}${(content.length / 2).toString(16).padStart(2, '0')}${content}`
  }
  const version = 'a003020102'
  const serial = '020101'
  const algorithm = der('30', '0603 2a0304')
  const signature = der('03', '00', 'aabb')
  const signed = der('30', version, serial, algorithm, '3000')

  it('has its signature decoded in version 3 and in version 1', () => {
    for (const tbs of [signed, der('30', serial, algorithm, '3000')])
      expect(hex(signatureOfCertificate(bytes(der('30', tbs, algorithm, signature))))).toBe('aabb')
  })

  it.each([
    ['a fourth part', der('30', signed, algorithm, signature, '0500')],
    ['two parts', der('30', signed, algorithm)],
    ['another outer algorithm', der('30', signed, der('30', '0603 2a0305'), signature)],
    ['parameters in the outer algorithm only', der('30', signed, der('30', '0603 2a0304 0500'), signature)],
    ['an outer algorithm that is not a SEQUENCE', der('30', signed, der('31', '0603 2a0304'), signature)],
    [
      'two algorithms that are not a SEQUENCE',
      der('30', der('30', version, serial, der('31', '0603 2a0304')), der('31', '0603 2a0304'), signature),
    ],
    [
      'a signed algorithm that is not a SEQUENCE',
      der('30', der('30', version, serial, der('31', '0603 2a0304')), algorithm, signature),
    ],
    ['a signed part that is not a SEQUENCE', der('30', signed.replace(/^30/, '31'), algorithm, signature)],
    ['an OCTET STRING as the signature', der('30', signed, algorithm, der('04', '00', 'aabb'))],
    [
      'a signature that is not a whole number of bytes',
      der('30', signed, algorithm, der('03', '01', 'aaba')),
    ],
  ])('is refused with %s', (_what, text) => {
    expect(() => signatureOfCertificate(bytes(text))).toThrow(RangeError)
  })
})
