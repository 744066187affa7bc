/** ECDH by a PIV card's key, at the driver: what a key gives to those who derive others of it. Judged by node:crypto. */
import { diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encodeTlv } from '@webtoki/apdu'
import { CKD, CKM, CKR, type KeyPurpose, type RawMechanism } from '@webtoki/cryptoki'
import { createPivCard } from '@webtoki/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, keyInDriver, makeKey, pointOf } from './key-management.ts'
import { rv } from './piv-setup.ts'

/** The key in 9D of a card, which wants no PIN here. */
async function setUp(privateKey: KeyObject, answer?: (command: Uint8Array) => Uint8Array | undefined) {
  const card = createPivCard({ ...cardWith(privateKey), policies: { '9D': { pin: 'never' } } })
  const key = await keyInDriver({
    atr: card.atr,
    reset: (kind) => card.reset(kind),
    powerOff: () => card.powerOff(),
    process: async (command) => answer?.(command) ?? card.process(command),
  })
  onTestFinished(() => key.close())
  return { card, ...key }
}

const mechanism = (publicData: Uint8Array, type: number = CKM.ECDH1_DERIVE): RawMechanism => ({
  type,
  ecdh: { kdf: CKD.NULL, publicData },
})

describe.each(['P-256', 'P-384'] as const)('ECDH by a card’s key on %s', (namedCurve) => {
  const own = makeKey[namedCurve]()
  const other = generateKeyPairSync('ec', { namedCurve })
  const point = pointOf(other.publicKey)

  it('gives the secret that Node has, by a point as it is or within an OCTET STRING', async () => {
    const { derive, use } = await setUp(own)
    for (const type of [CKM.ECDH1_DERIVE, CKM.ECDH1_COFACTOR_DERIVE])
      for (const publicData of [point, encodeTlv(0x04, point)])
        expect(await derive(mechanism(publicData, type))).toEqual(
          Uint8Array.from(diffieHellman({ privateKey: own, publicKey: other.publicKey })),
        )
    expect(use('derive', mechanism(point)).outputBytes(0)).toBe((point.length - 1) / 2)
  })

  it('of a point that is not one of the curve is refused before the card', async () => {
    const { derive, card } = await setUp(own)
    const before = card.log.length
    const offCurve = Uint8Array.from(point)
    offCurve[40] = (offCurve[40] ?? 0) ^ 1
    const compressed = Uint8Array.of(2, ...point.subarray(1, (point.length + 1) / 2))
    const strange = pointOf(generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey)
    for (const each of [offCurve, compressed, strange, new Uint8Array(point.length), new Uint8Array(0)])
      await expect(derive(mechanism(each))).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
    expect(card.log.length).toBe(before)
  })

  it('of a card that answers with a secret of another length is CKR_DEVICE_ERROR', async () => {
    const { derive } = await setUp(own, (command) =>
      command[1] === 0x87 ? Uint8Array.of(0x7c, 3, 0x82, 1, 0x55, 0x90, 0) : undefined,
    )
    await expect(derive(mechanism(point))).rejects.toEqual(rv(CKR.DEVICE_ERROR))
  })

  it('without parameters, or as anything else than a derivation, is refused at Init', async () => {
    const { use } = await setUp(own)
    const refused = (purpose: KeyPurpose, asked: RawMechanism, code: number): void =>
      expect(() => use(purpose, asked)).toThrow(rv(code) as Error)
    refused('derive', { type: CKM.ECDH1_DERIVE }, CKR.MECHANISM_PARAM_INVALID)
    refused('derive', { type: CKM.ECDSA }, CKR.MECHANISM_INVALID)
    refused('sign', mechanism(point), CKR.MECHANISM_INVALID)
    refused('decrypt', { type: CKM.RSA_PKCS }, CKR.KEY_TYPE_INCONSISTENT)
  })
})

it('an RSA key does not derive', async () => {
  const { use } = await setUp(makeKey['RSA-2048']())
  expect(() => use('derive', mechanism(new Uint8Array(65)))).toThrow(rv(CKR.KEY_TYPE_INCONSISTENT) as Error)
})
