/** ECDH with a PIV card's key at the driver. node:crypto checks the results. */
import { diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { encodeTlv } from '@webtoki/apdu'
import { CKD, CKM, CKR, type KeyPurpose, type RawMechanism } from '@webtoki/cryptoki'
import { createPivCard } from '@webtoki/simulator'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, keyInDriver, makeKey, pointOf } from './key-management.ts'
import { rv } from './piv-setup.ts'

/** The 9D key of a card, which needs no PIN here. `respond` can replace responses. */
async function setUp(privateKey: KeyObject, respond?: (command: Uint8Array) => Uint8Array | undefined) {
  const card = createPivCard({ ...cardWith(privateKey), policies: { '9D': { pin: 'never' } } })
  const key = await keyInDriver({
    atr: card.atr,
    reset: (kind) => card.reset(kind),
    powerOff: () => card.powerOff(),
    process: async (command) => respond?.(command) ?? card.process(command),
  })
  onTestFinished(() => key.close())
  return { card, ...key }
}

const mechanism = (publicData: Uint8Array, type: number = CKM.ECDH1_DERIVE): RawMechanism => ({
  type,
  ecdh: { kdf: CKD.NULL, publicData },
})

describe.each(['P-256', 'P-384'] as const)('ECDH with a card key on %s', (namedCurve) => {
  const own = makeKey[namedCurve]()
  const other = generateKeyPairSync('ec', { namedCurve })
  const point = pointOf(other.publicKey)

  it('gives the same secret as Node, for a raw point or one in an OCTET STRING', async () => {
    const { derive, use } = await setUp(own)
    for (const type of [CKM.ECDH1_DERIVE, CKM.ECDH1_COFACTOR_DERIVE])
      for (const publicData of [point, encodeTlv(0x04, point)])
        expect(await derive(mechanism(publicData, type))).toEqual(
          Uint8Array.from(diffieHellman({ privateKey: own, publicKey: other.publicKey })),
        )
    expect(use('derive', mechanism(point)).outputBytes(0)).toBe((point.length - 1) / 2)
  })

  it('refuses a point that is not on the curve without a card command', async () => {
    const { derive, card } = await setUp(own)
    const before = card.log.length
    const offCurve = Uint8Array.from(point)
    offCurve[40] = (offCurve[40] ?? 0) ^ 1
    const compressed = Uint8Array.of(2, ...point.subarray(1, (point.length + 1) / 2))
    const otherCurve = pointOf(generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey)
    for (const each of [offCurve, compressed, otherCurve, new Uint8Array(point.length), new Uint8Array(0)])
      await expect(derive(mechanism(each))).rejects.toEqual(rv(CKR.MECHANISM_PARAM_INVALID))
    expect(card.log.length).toBe(before)
  })

  it('returns CKR_DEVICE_ERROR if the card returns a secret of another length', async () => {
    const { derive } = await setUp(own, (command) =>
      command[1] === 0x87 ? Uint8Array.of(0x7c, 3, 0x82, 1, 0x55, 0x90, 0) : undefined,
    )
    await expect(derive(mechanism(point))).rejects.toEqual(rv(CKR.DEVICE_ERROR))
  })

  it('without parameters, or with another purpose, is refused at Init', async () => {
    const { use } = await setUp(own)
    const refused = (purpose: KeyPurpose, requested: RawMechanism, code: number): void =>
      expect(() => use(purpose, requested)).toThrow(rv(code) as Error)
    refused('derive', { type: CKM.ECDH1_DERIVE }, CKR.MECHANISM_PARAM_INVALID)
    refused('derive', { type: CKM.ECDSA }, CKR.MECHANISM_INVALID)
    refused('sign', mechanism(point), CKR.MECHANISM_INVALID)
    refused('decrypt', { type: CKM.RSA_PKCS }, CKR.KEY_TYPE_INCONSISTENT)
  })
})

it('an RSA key cannot derive', async () => {
  const { use } = await setUp(makeKey['RSA-2048']())
  expect(() => use('derive', mechanism(new Uint8Array(65)))).toThrow(rv(CKR.KEY_TYPE_INCONSISTENT) as Error)
})
