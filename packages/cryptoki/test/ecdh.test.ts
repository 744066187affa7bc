/**
 * ECDH with a card: the other party's points, and keys derived from the shared secret. Node's ECDH plays the
 * card.
 */
import { createECDH, createHash } from 'node:crypto'
import { concatBytes, encodeTlv } from '@webtoki/apdu'
import { CKD, CKR, type CryptokiError } from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { checkedPoint, deriveSecret } from '../src/software/ecdh.ts'
import { hex, pointOfInfo, wycheproof } from './wycheproof.ts'

const rv = (code: number): unknown => expect.objectContaining({ rv: code })
const curves = [
  ['secp256r1', 'prime256v1', '06082a8648ce3d030107', 65],
  ['secp384r1', 'secp384r1', '06052b81040022', 97],
  ['secp521r1', 'secp521r1', '06052b81040023', 133],
] as const

/** C_DeriveKey: the part of the host, and Node's ECDH as the part of the card. */
async function derive(
  nodeCurve: string,
  oid: string,
  own: Uint8Array,
  publicData: Uint8Array,
): Promise<Uint8Array> {
  const point = checkedPoint(publicData, hex(oid))
  const card = createECDH(nodeCurve)
  card.setPrivateKey(own)
  return deriveSecret(Uint8Array.from(card.computeSecret(point)), { kdf: CKD.NULL }, undefined)
}

describe.each(curves.slice(0, 2))(
  'ECDH on %s (%s, %s) with the Wycheproof vectors',
  (name, nodeCurve, oid, length) => {
    const cases = wycheproof<'public' | 'private' | 'shared'>(
      `ecdh_${name as 'secp256r1' | 'secp384r1'}`,
    ).flatMap((each) => {
      const info = pointOfInfo(hex(each.public))
      // PKCS#11 passes the point alone: skip the cases whose SubjectPublicKeyInfo is damaged around it.
      return info === undefined ? [] : [{ ...each, ...info }]
    })
    const scalar = (digits: string): Uint8Array => {
      const bytes = hex(digits)
      const own = new Uint8Array((length - 1) / 2)
      own.set(bytes.subarray(-own.length), Math.max(0, own.length - bytes.length))
      return own
    }
    const outcomes = async (each: (typeof cases)[number]): Promise<string | number> => {
      try {
        return Buffer.from(await derive(nodeCurve, oid, scalar(each.private), each.point)).toString('hex')
      } catch (error) {
        return (error as CryptokiError).rv
      }
    }

    it('gives the shared secret of every valid case whose point is on the curve', async () => {
      const valid = cases.filter(({ result }) => result === 'valid')
      expect(valid.length).toBeGreaterThan(300)
      for (const each of valid) expect([each.tcId, await outcomes(each)]).toEqual([each.tcId, each.shared])
    })

    it('refuses every invalid point with CKR_MECHANISM_PARAM_INVALID', async () => {
      // Cases with other parameters are skipped: their point may be valid, and PKCS#11 passes no parameters.
      const invalid = cases.filter((each) => each.result === 'invalid' && each.parameters === oid)
      expect(invalid.length).toBeGreaterThan(10)
      for (const each of invalid)
        expect([each.tcId, await outcomes(each)]).toEqual([each.tcId, CKR.MECHANISM_PARAM_INVALID])
    })

    it('accepts uncompressed points among the acceptable cases and refuses compressed ones', async () => {
      const outcomesOf = async (flag: string) =>
        Promise.all(
          cases
            .filter(({ result, flags }) => result === 'acceptable' && flags?.includes(flag))
            .map(async (each) => ({ ...each, outcome: await outcomes(each) })),
        )
      const compressed = await outcomesOf('CompressedPoint')
      expect(compressed.map(({ outcome }) => outcome)).toEqual([CKR.MECHANISM_PARAM_INVALID])
      // The explicit parameters are wrong, but here the key determines the curve and the point is on it.
      const unnamed = await outcomesOf('UnnamedCurve')
      expect(unnamed.length).toBeGreaterThan(5)
      for (const { tcId, outcome, shared } of unnamed) expect([tcId, outcome]).toEqual([tcId, shared])
      // The DER around the point is damaged: the remaining bytes give the right secret or are refused.
      const damaged = await outcomesOf('InvalidAsn')
      expect(damaged.length).toBeGreaterThan(50)
      for (const { outcome, shared } of damaged)
        expect([shared, CKR.MECHANISM_PARAM_INVALID]).toContain(outcome)
    })
  },
)

describe.each(curves)('the other party’s point on %s (%s, %s)', (_, nodeCurve, oid, length) => {
  const other = createECDH(nodeCurve)
  const point = Uint8Array.from(other.generateKeys())

  it('is accepted raw and in an OCTET STRING, and copied', () => {
    const checked = checkedPoint(point, hex(oid))
    expect(checked).toEqual(point)
    expect(checked.buffer).not.toBe(point.buffer)
    expect(checkedPoint(encodeTlv(0x04, point), hex(oid))).toEqual(point)
  })

  it('is refused if it is off the curve, compressed, hybrid, infinite, cut or followed by more', () => {
    const odd = (point.at(-1) ?? 0) & 1
    const wrong = {
      'off the curve': point.with(length - 1, (point.at(-1) ?? 0) ^ 1),
      zero: point.map((_byte, at) => (at === 0 ? 4 : 0)),
      'not below the field': new Uint8Array(length).fill(0xff).fill(4, 0, 1),
      compressed: point.slice(0, (length + 1) / 2).fill(2 + odd, 0, 1),
      hybrid: point.slice().fill(6 + odd, 0, 1),
      infinite: Uint8Array.of(0),
      empty: new Uint8Array(0),
      cut: point.subarray(0, -1),
      longer: concatBytes(point, [0]),
      'in a SEQUENCE': encodeTlv(0x30, point),
      'in an OCTET STRING with more after it': concatBytes(encodeTlv(0x04, point), [0]),
      'of an OCTET STRING that is cut': encodeTlv(0x04, point).subarray(0, -1),
    }
    for (const [what, each] of Object.entries(wrong))
      for (const given of [each, encodeTlv(0x04, each)])
        expect(() => checkedPoint(given, hex(oid)), what).toThrow(rv(CKR.MECHANISM_PARAM_INVALID) as Error)
  })

  it('is refused for a key on another curve', () => {
    for (const [, , otherOid] of curves.filter(([, each]) => each !== nodeCurve))
      expect(() => checkedPoint(point, hex(otherOid))).toThrow(rv(CKR.MECHANISM_PARAM_INVALID) as Error)
    expect(() => checkedPoint(point, hex('06012a'))).toThrow(rv(CKR.KEY_SIZE_RANGE) as Error)
  })
})

describe('a key derived from a shared secret', () => {
  const z = hex('000102030405060708090a0b0c0d0e0f')

  it('with CKD_NULL is the end of the secret, or all of it without CKA_VALUE_LEN', async () => {
    expect(await deriveSecret(z, { kdf: CKD.NULL }, undefined)).toEqual(z)
    expect(await deriveSecret(z, { kdf: CKD.NULL, sharedData: new Uint8Array(0) }, 4)).toEqual(
      hex('0c0d0e0f'),
    )
    await expect(deriveSecret(z, { kdf: CKD.NULL }, 17)).rejects.toEqual(rv(CKR.ATTRIBUTE_VALUE_INVALID))
    await expect(deriveSecret(z, { kdf: CKD.NULL, sharedData: z }, 4)).rejects.toEqual(
      rv(CKR.MECHANISM_PARAM_INVALID),
    )
  })

  // NIST CAVP, "ansx963_2001.rsp": SHA-1 (192-bit shared secret, no shared data) and SHA-256 (128-bit shared
  // data).
  it.each([
    [
      CKD.SHA1_KDF,
      '1c7d7b5f0597b03d06a018466ed1a93e30ed4b04dc64ccdd',
      '',
      'bf71dffd8f4d99223936beb46fee8ccc',
    ],
    [
      CKD.SHA256_KDF,
      '22518b10e70f2a3f243810ae3254139efbee04aa57c7af7d',
      '75eef81aa3041e33b80971203d2c0c52',
      'c498af77161cc59f2962b9a713e2b215152d139766ce34a776df11866a69bf2e52a13d9c7c6fc878c50c5ea0bc7b00e0da2447cfd874f6cf92f30d0097111485500c90c3af8b487872d04685d14c8d1dc8d7fa08beb0ce0ababc11f0bd496269142d43525a78e5bc79a17f59676a5706dc54d54d4d1f0bd7e386128ec26afc21',
    ],
  ])("equals NIST's example for CKD %i", async (kdf, secret, sharedData, key) => {
    const derived = await deriveSecret(hex(secret), { kdf, sharedData: hex(sharedData) }, key.length / 2)
    expect(Buffer.from(derived).toString('hex')).toBe(key)
  })

  it.each([
    [CKD.SHA1_KDF, 'sha1'],
    [CKD.SHA224_KDF, 'sha224'],
    [CKD.SHA256_KDF, 'sha256'],
    [CKD.SHA384_KDF, 'sha384'],
    [CKD.SHA512_KDF, 'sha512'],
  ])("equals Node's hash at any length, for CKD %i and %s", async (kdf, hash) => {
    const sharedData = hex('a0a1a2')
    const parts = Array.from({ length: 5 }, (_, at) =>
      createHash(hash)
        .update(z)
        .update(Uint8Array.of(0, 0, 0, at + 1))
        .update(sharedData)
        .digest(),
    )
    const whole = Uint8Array.from(Buffer.concat(parts))
    for (const bytes of [1, 16, 20, 21, 64, 65, 100])
      expect(await deriveSecret(z, { kdf, sharedData }, bytes)).toEqual(whole.subarray(0, bytes))
    await expect(deriveSecret(z, { kdf }, undefined)).rejects.toEqual(rv(CKR.TEMPLATE_INCOMPLETE))
    await expect(deriveSecret(z, { kdf }, 0)).rejects.toEqual(rv(CKR.ATTRIBUTE_VALUE_INVALID))
    await expect(deriveSecret(z, { kdf }, 2 ** 32)).rejects.toEqual(rv(CKR.ATTRIBUTE_VALUE_INVALID))
  })

  it('with an unknown KDF is refused', async () => {
    await expect(deriveSecret(z, { kdf: 3 }, 16)).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
  })
})
