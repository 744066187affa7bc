/** Wycheproof's vectors with private keys, through sessions: each key is in slot 9D of a virtual PIV card. */
import { createECDH, createPrivateKey, type KeyObject } from 'node:crypto'
import {
  type CipherMechanism,
  CKA,
  CKD,
  CKG,
  CKK,
  CKM,
  CKO,
  CKU,
  type CkObject,
  isCryptokiError,
  type Session,
} from '@webtoki/cryptoki'
import { describe, expect, it } from 'vitest'
import { cardWith } from './key-management.ts'
import { object, open } from './piv-setup.ts'
import { hex, pointOfInfo, wycheproof } from './wycheproof.ts'

const readable = {
  [CKA.CLASS]: CKO.SECRET_KEY,
  [CKA.KEY_TYPE]: CKK.GENERIC_SECRET,
  [CKA.SENSITIVE]: false,
  [CKA.EXTRACTABLE]: true,
} as const

/** Calls `run` for each case with its key; one card serves all cases with the same key. */
async function withKeys<T extends { readonly keyName: string }>(
  cases: readonly T[],
  keyOf: (each: T) => KeyObject,
  run: (each: T, session: Session, key: CkObject) => Promise<void>,
): Promise<void> {
  for (const name of new Set(cases.map(({ keyName }) => keyName))) {
    const own = cases.filter(({ keyName }) => keyName === name)
    const key = keyOf(own[0] as T)
    const { cryptoki, session } = await open({ card: cardWith(key) })
    await session.login(CKU.USER)
    const handle = await object(session, CKO.PRIVATE_KEY, 3)
    for (const each of own) await run(each, session, handle)
    await cryptoki.close()
  }
}

/** The result in hex, or the name of the return value. */
async function outcomeOf(result: PromiseLike<Uint8Array>): Promise<string> {
  try {
    return Buffer.from(await result).toString('hex')
  } catch (error) {
    return isCryptokiError(error) ? error.rvName : String(error)
  }
}

const pkcs8 = (digits: string): KeyObject =>
  createPrivateKey({ key: Buffer.from(digits, 'hex'), format: 'der', type: 'pkcs8' })

describe("Wycheproof's RSA decryption by a card", () => {
  const oaep = (hash: 'SHA_1' | 'SHA256', label: string): CipherMechanism => ({
    type: CKM.RSA_PKCS_OAEP,
    oaep: {
      hash: CKM[hash],
      mgf: hash === 'SHA_1' ? CKG.MGF1_SHA1 : CKG.MGF1_SHA256,
      label: hex(label),
    },
  })

  it.each([
    ['rsa_oaep_2048_sha1_mgf1sha1', 'SHA_1'],
    ['rsa_oaep_2048_sha256_mgf1sha256', 'SHA256'],
  ] as const)('agrees with %s: the message, or a code for wrong encrypted data', async (file, hash) => {
    const cases = [...wycheproof<'ct' | 'msg' | 'label', 'privateKeyPkcs8'>(file)]
    const keyed = cases.map((each) => ({ ...each, keyName: each.group.privateKeyPkcs8 }))
    await withKeys(
      keyed,
      ({ keyName }) => pkcs8(keyName),
      async ({ tcId, ct, msg, label, result }, session, key) => {
        const outcome = await outcomeOf(session.decrypt(oaep(hash, label), key, hex(ct)).result())
        const codes = ['CKR_ENCRYPTED_DATA_INVALID', 'CKR_ENCRYPTED_DATA_LEN_RANGE']
        if (result === 'valid') expect([tcId, outcome]).toEqual([tcId, msg])
        else expect([tcId, codes.includes(outcome)]).toEqual([tcId, true])
      },
    )
  })

  it('agrees with rsa_pkcs1_2048: the message, or another one', async () => {
    const cases = [...wycheproof<'ct' | 'msg', 'privateKeyPkcs8'>('rsa_pkcs1_2048')]
    const keyed = cases.map((each) => ({ ...each, keyName: each.group.privateKeyPkcs8 }))
    await withKeys(
      keyed,
      ({ keyName }) => pkcs8(keyName),
      async ({ tcId, ct, msg, result }, session, key) => {
        const outcome = await outcomeOf(session.decrypt({ type: CKM.RSA_PKCS }, key, hex(ct)).result())
        expect([tcId, outcome === msg]).toEqual([tcId, result === 'valid'])
        // The codes reveal only public facts: the length of the ciphertext, and whether it is below the
        // modulus.
        if (outcome.startsWith('CKR')) expect(outcome).toMatch(/^CKR_ENCRYPTED_DATA_(INVALID|LEN_RANGE)$/)
      },
    )
  })
})

describe.each([
  ['ecdh_secp256r1', 'prime256v1', 'P-256', '06082a8648ce3d030107', 32],
  ['ecdh_secp384r1', 'secp384r1', 'P-384', '06052b81040022', 48],
] as const)("Wycheproof's %s by a card", (file, curve, crv, oid, fieldBytes) => {
  const keyOf = (digits: string): KeyObject => {
    const scalar = Buffer.alloc(fieldBytes)
    const bytes = Buffer.from(hex(digits)).subarray(-fieldBytes)
    bytes.copy(scalar, fieldBytes - bytes.length)
    const pair = createECDH(curve)
    pair.setPrivateKey(scalar)
    const point = pair.getPublicKey()
    const part = (from: number): string => point.subarray(from, from + fieldBytes).toString('base64url')
    const jwk = { kty: 'EC', crv, d: scalar.toString('base64url'), x: part(1), y: part(1 + fieldBytes) }
    return createPrivateKey({ key: jwk, format: 'jwk' })
  }

  it('agrees: the shared secret, or CKR_MECHANISM_PARAM_INVALID', async () => {
    const cases = [...wycheproof<'public' | 'private' | 'shared'>(file)].flatMap((each) => {
      const given = pointOfInfo(hex(each.public))
      return given === undefined ? [] : [{ ...each, ...given, keyName: each.private }]
    })
    const results = { shared: 0, refused: 0 }
    await withKeys(
      cases,
      ({ keyName }) => keyOf(keyName),
      async ({ tcId, point, parameters, shared, result }, session, key) => {
        const mechanism = { type: CKM.ECDH1_DERIVE, ecdh: { kdf: CKD.NULL, publicData: point } }
        const derived = session.deriveKey(mechanism, key, readable).result()
        const outcome = await outcomeOf(derived.then((secret) => secret.get(CKA.VALUE)))
        const refused = 'CKR_MECHANISM_PARAM_INVALID'
        if (result === 'valid') expect([tcId, outcome]).toEqual([tcId, shared])
        // PKCS#11 passes no curve parameters: the key determines the curve, and the point may be on it.
        else if (result === 'invalid' && parameters === oid) expect([tcId, outcome]).toEqual([tcId, refused])
        else if (result === 'acceptable') expect([shared, refused]).toContain(outcome)
        if (outcome === refused) results.refused++
        else results.shared++
      },
    )
    expect(results.shared).toBeGreaterThan(300)
    expect(results.refused).toBeGreaterThan(10)
  }, 60_000)
})
