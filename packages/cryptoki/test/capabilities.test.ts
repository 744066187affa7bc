/** The mechanisms and flags that a token reports are exactly what it does. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { encodeTlv } from '@webtoki/apdu'
import {
  type Attributes,
  CKA,
  CKD,
  CKF,
  CKG,
  CKK,
  CKM,
  CKO,
  type CkObject,
  CKR,
  type CryptokiError,
  type DeriveMechanism,
  type GenerateMechanism,
  type KeyOperationType,
  type RawMechanism,
  type RawOperationSpec,
  type WrapMechanism,
} from '@webtoki/cryptoki'
import { describe, expect, it, onTestFinished } from 'vitest'
import { cardWith, KeyUsage, makeKey, pointOf } from './key-management.ts'
import { object, open, rv } from './piv-setup.ts'

const purposes = {
  sign: CKF.SIGN,
  verify: CKF.VERIFY,
  encrypt: CKF.ENCRYPT,
  decrypt: CKF.DECRYPT,
  'sign-recover': CKF.SIGN_RECOVER,
  'verify-recover': CKF.VERIFY_RECOVER,
} as const satisfies Record<KeyOperationType, number>

const bytes = (base64url: string | undefined): Uint8Array =>
  Uint8Array.from(Buffer.from(base64url ?? '', 'base64url'))

/** Parameters of every kind that a mechanism may require. */
const parameters = [
  {},
  { iv: new Uint8Array(16) },
  { pss: { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256, saltBytes: 32 } },
  { oaep: { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 } },
  { gcm: { iv: new Uint8Array(12), tagBits: 128 } },
]

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' })
const secret = {
  [CKA.CLASS]: CKO.SECRET_KEY,
  [CKA.SIGN]: true,
  [CKA.VERIFY]: true,
  [CKA.ENCRYPT]: true,
  [CKA.DECRYPT]: true,
  [CKA.WRAP]: true,
  [CKA.UNWRAP]: true,
}
const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })

/** One key of each type that is used in software, with every use allowed. */
const sessionKeys: readonly Attributes[] = [
  { ...secret, [CKA.KEY_TYPE]: CKK.AES, [CKA.VALUE]: new Uint8Array(16) },
  { ...secret, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET, [CKA.VALUE]: new Uint8Array(16) },
  {
    [CKA.CLASS]: CKO.PUBLIC_KEY,
    [CKA.KEY_TYPE]: CKK.RSA,
    [CKA.MODULUS]: bytes(rsa.n),
    [CKA.PUBLIC_EXPONENT]: bytes(rsa.e),
    [CKA.VERIFY]: true,
    [CKA.VERIFY_RECOVER]: true,
    [CKA.ENCRYPT]: true,
    [CKA.WRAP]: true,
  },
  {
    [CKA.CLASS]: CKO.PUBLIC_KEY,
    [CKA.KEY_TYPE]: CKK.EC_EDWARDS,
    [CKA.EC_PARAMS]: Uint8Array.of(6, 3, 0x2b, 0x65, 0x70),
    [CKA.EC_POINT]: encodeTlv(0x04, bytes(ed25519.x)),
    [CKA.VERIFY]: true,
  },
]

async function setUp() {
  const opened = await open({ cryptoki: { login: 'on-demand' } })
  onTestFinished(() => opened.cryptoki.close())
  const { session } = opened
  const keys: CkObject[] = []
  for (const each of [CKO.PRIVATE_KEY, CKO.PUBLIC_KEY])
    for (const id of [1, 2, 3]) keys.push(await object(session, each, id))
  for (const template of sessionKeys) keys.push(await session.createObject(template))
  return { ...opened, keys }
}

/** Every named mechanism, and an unknown number. */
const all = [...Object.entries(CKM), ['none', 0x7777] as const]

describe('C_GetMechanismInfo of a PIV token', () => {
  it('lists exactly the mechanisms that an Init accepts with some key, flagged with exactly those uses', async () => {
    const { session, slot, keys } = await setUp()
    const listed = await slot.mechanisms()
    const begins = (spec: RawOperationSpec): boolean => {
      try {
        session.begin(spec)
        session.cancel()
        return true
      } catch (error) {
        expect((error as CryptokiError).rvName).toMatch(
          /^CKR_(MECHANISM_INVALID|MECHANISM_PARAM_INVALID|KEY_TYPE_INCONSISTENT|KEY_FUNCTION_NOT_PERMITTED)$/,
        )
        return false
      }
    }
    const done: Record<string, string[]> = {}
    const reported: Record<string, string[]> = {}
    for (const [name, type] of all) {
      const info = listed.get(type)
      const flags = info?.flags ?? 0
      const works = Object.keys(purposes).filter((purpose) =>
        keys.some((key) =>
          parameters.some((each) =>
            begins({ type: purpose as KeyOperationType, mechanism: { type, ...each }, key }),
          ),
        ),
      )
      if (begins({ type: 'digest', mechanism: { type } })) works.push('digest')
      done[name] = works
      reported[name] = [...Object.entries(purposes), ['digest', CKF.DIGEST] as const]
        .filter(([, flag]) => (flags & flag) !== 0)
        .map(([purpose]) => purpose)
      // A listed mechanism has a use, if only in a single-part function.
      const isForSinglePart = (flags & (CKF.GENERATE | CKF.DERIVE)) !== 0
      expect(info !== undefined, name).toBe(works.length > 0 || isForSinglePart)
    }
    expect(reported).toEqual(done)
    expect(reported).toMatchObject({
      SHA3_256: ['digest'],
      SHA224_RSA_PKCS: ['verify'],
      RSA_PKCS_KEY_PAIR_GEN: [],
    })
    expect([...listed.keys()].every((type) => all.some(([, known]) => known === type))).toBe(true)
  })
})

describe('C_GetMechanismInfo of a PIV token, for single-part functions', () => {
  it.each(['RSA-2048', 'P-256'] as const)(
    'flags exactly what some key does, with an %s key in 9D',
    async (type) => {
      const privateKey = makeKey[type]()
      const keyUsage = KeyUsage.keyEncipherment | KeyUsage.keyAgreement
      const { session, slot, cryptoki } = await open({
        cryptoki: { login: 'on-demand' },
        card: cardWith(privateKey, { keyUsage }),
      })
      onTestFinished(() => cryptoki.close())
      const listed = await slot.mechanisms()
      const keys = [await object(session, CKO.PRIVATE_KEY, 3)]
      for (const template of sessionKeys) keys.push(await session.createObject(template))
      const template = { ...secret, [CKA.KEY_TYPE]: CKK.AES, [CKA.EXTRACTABLE]: true }
      const length = { ...template, [CKA.KEY_TYPE]: CKK.GENERIC_SECRET, [CKA.VALUE_LEN]: 16 }
      const key = await session.createObject({ ...template, [CKA.VALUE]: new Uint8Array(16) })
      const publicData = type === 'P-256' ? pointOf(createPublicKey(privateKey)) : new Uint8Array(65)
      const given = [...parameters, { ecdh: { kdf: CKD.NULL, publicData } }]
      const calls = {
        generate: (mechanism: RawMechanism) =>
          session.generateKey(mechanism as GenerateMechanism, { [CKA.VALUE_LEN]: 16 }),
        wrap: (mechanism: RawMechanism, own: CkObject) =>
          session.wrapKey(mechanism as WrapMechanism, own, key),
        // The wrapped bytes are invalid: they are refused for their length, which is checked after the
        // mechanism.
        unwrap: (mechanism: RawMechanism, own: CkObject) =>
          session.unwrapKey(mechanism as WrapMechanism, own, new Uint8Array(1), length),
        derive: (mechanism: RawMechanism, own: CkObject) =>
          session.deriveKey(mechanism as DeriveMechanism, own, length),
      }
      const flags = { generate: CKF.GENERATE, wrap: CKF.WRAP, unwrap: CKF.UNWRAP, derive: CKF.DERIVE }
      const refusals =
        /^CKR_(MECHANISM_INVALID|MECHANISM_PARAM_INVALID|((UN)?WRAPPING_)?KEY_TYPE_INCONSISTENT|KEY_FUNCTION_NOT_PERMITTED)$/
      const takes = (call: keyof typeof calls, mechanism: RawMechanism, own: CkObject): Promise<boolean> =>
        calls[call](mechanism, own)
          .result()
          .then(
            () => true,
            (error: CryptokiError) => !refusals.test(error.rvName),
          )
      // True if the mechanism belongs to the other type of card key, of which this card has none.
      const isOther = (call: string, mechanism: number): boolean =>
        type === 'RSA-2048'
          ? call === 'derive'
          : call === 'unwrap' && [CKM.RSA_PKCS, CKM.RSA_X_509, CKM.RSA_PKCS_OAEP].includes(mechanism as never)
      for (const [name, mechanism] of all) {
        for (const [call, flag] of Object.entries(flags) as ['wrap', number][]) {
          if (isOther(call, mechanism)) continue
          let works = false
          for (const own of keys)
            for (const each of given) works ||= await takes(call, { type: mechanism, ...each }, own)
          const isFlagged = ((listed.get(mechanism)?.flags ?? 0) & flag) !== 0
          expect(isFlagged, `${call} by ${name}`).toBe(works)
        }
      }
    },
  )
})

describe('C_GetTokenInfo of a PIV token', () => {
  it.each([true, false])(
    'reports random numbers, write protection, and pairs if they are allowed: %s',
    async (dualOperations) => {
      const { slot, cryptoki, session } = await open({ cryptoki: { dualOperations } })
      onTestFinished(() => cryptoki.close())
      const { flags } = await slot.tokenInfo()
      expect(await session.random(8)).toHaveLength(8)
      expect(flags & (CKF.RNG | CKF.WRITE_PROTECTED | CKF.DUAL_CRYPTO_OPERATIONS)).toBe(
        CKF.RNG | CKF.WRITE_PROTECTED | (dualOperations ? CKF.DUAL_CRYPTO_OPERATIONS : 0),
      )
      await expect(slot.openSession({ readWrite: true })).rejects.toEqual(rv(CKR.TOKEN_WRITE_PROTECTED))
    },
  )

  it.each([1, 2, 3, 4])('private key %i reports exactly the uses that some Init accepts', async (id) => {
    const { cryptoki, session } = await open({ cryptoki: { login: 'on-demand' } })
    onTestFinished(() => cryptoki.close())
    const key = await object(session, CKO.PRIVATE_KEY, id)
    const begins = (type: KeyOperationType, mechanism: RawMechanism): boolean => {
      try {
        session.begin({ type, mechanism, key })
        session.cancel()
        return true
      } catch {
        return false
      }
    }
    const reportedUses = {
      sign: key.get(CKA.SIGN),
      decrypt: key.get(CKA.DECRYPT),
      'sign-recover': key.get(CKA.SIGN_RECOVER),
      verify: false,
      encrypt: false,
      'verify-recover': false,
    } satisfies Record<KeyOperationType, boolean>
    for (const [type, isReported] of Object.entries(reportedUses)) {
      const works = all.some(([, mechanism]) =>
        parameters.some((each) => begins(type as KeyOperationType, { type: mechanism, ...each })),
      )
      expect(works, type).toBe(isReported)
    }
  })
})
