/**
 * OpenSC and this library's driver on the same virtual PIV card: what both decrypt and derive, and what the
 * openssl program encrypts.
 */
import { execFileSync } from 'node:child_process'
import {
  constants,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  randomBytes,
} from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CKD, CKG, CKM, CKO, type CkObject, type CipherMechanism, type Session } from '@webtoki/cryptoki'
import { createPivCard, type PivCard } from '@webtoki/simulator'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inReader, runInside, whatPlacesLack } from '../../simulator/test/places.ts'
import { cardWith, keyInDriver, KeyUsage, makeKey, pointOf } from './key-management.ts'
import { object, open } from './piv-setup.ts'

const missing = whatPlacesLack(['pkcs11-tool', 'openssl'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The PIV driver’s decryption is not compared with OpenSC and openssl: ${missing}.`)
}

let folder: string
const file = (name: string): string => join(folder, name)
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'webtoki-judge-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs `use` with this library's driver and the card's 9D key. */
async function withWebtoki<T>(
  card: PivCard,
  use: (session: Session, key: CkObject) => Promise<T>,
): Promise<T> {
  const { session, cryptoki, reader } = await open({ virtual: card, cryptoki: { login: 'on-demand' } })
  try {
    return await use(session, await object(session, CKO.PRIVATE_KEY, 3))
  } finally {
    await cryptoki.close()
    reader.remove()
  }
}

/** OpenSC's output for each list of arguments. */
async function withOpenSc(
  card: PivCard,
  argumentLists: readonly (readonly string[])[],
): Promise<readonly Uint8Array[]> {
  const setup = await inReader(card, 'yubikey4')
  try {
    const outputs: Uint8Array[] = []
    for (const args of argumentLists) {
      const login = ['--login', '--pin', '123456', '--id', '03']
      const result = await runInside(
        setup.daemon,
        'pkcs11-tool',
        ...login,
        ...args,
        '--output-file',
        file('output'),
      )
      if (result.code !== 0) throw new Error(`${args.join(' ')}: ${result.out} ${result.err}`)
      outputs.push(Uint8Array.from(readFileSync(file('output'))))
    }
    return outputs
  } finally {
    await setup.end()
  }
}

const publicKeyOf = (card: PivCard): KeyObject =>
  createPublicKey({ key: Buffer.from(card.publicKeyOf('9D') ?? []), format: 'der', type: 'spki' })

describe.skipIf(missing !== undefined)("OpenSC and this library's driver on one PIV card", () => {
  it('decrypt the same bytes: PKCS#1, OAEP and raw RSA', async () => {
    const card = createPivCard()
    const key = publicKeyOf(card)
    const oaep = { hash: CKM.SHA256, mgf: CKG.MGF1_SHA256 } as const
    const cases: readonly (readonly [CipherMechanism, readonly string[], number, object])[] = [
      [{ type: CKM.RSA_PKCS }, ['RSA-PKCS'], 32, { padding: constants.RSA_PKCS1_PADDING }],
      [{ type: CKM.RSA_X_509 }, ['RSA-X-509'], 256, { padding: constants.RSA_NO_PADDING }],
      [
        { type: CKM.RSA_PKCS_OAEP, oaep },
        ['RSA-PKCS-OAEP', '--hash-algorithm', 'SHA256', '--mgf', 'MGF1-SHA256'],
        32,
        { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      ],
    ]
    const encrypted = cases.map(([, [name = ''], bytes, padding]) => {
      const plain = Uint8Array.of(0, ...randomBytes(bytes - 1))
      writeFileSync(file(name), publicEncrypt({ key, ...padding }, plain))
      return { plain, ciphertext: Uint8Array.from(readFileSync(file(name))) }
    })
    const byWebtoki = await withWebtoki(card, async (session, own) => {
      const outputs: Uint8Array[] = []
      for (const [at, [mechanism]] of cases.entries())
        outputs.push(await session.decrypt(mechanism, own, encrypted[at]?.ciphertext ?? expect.fail()))
      return outputs
    })
    const byOpenSc = await withOpenSc(
      card,
      cases.map(([, [name = '', ...args]]) => ['--decrypt', '-m', name, ...args, '--input-file', file(name)]),
    )
    expect(byWebtoki).toEqual(encrypted.map(({ plain }) => plain))
    expect(byOpenSc).toEqual(byWebtoki)
  })
  it.each(['P-256', 'P-384'] as const)('derive the same secret as Node, on %s', async (namedCurve) => {
    const privateKey = makeKey[namedCurve]()
    const other = generateKeyPairSync('ec', { namedCurve })
    const keyUsage = KeyUsage.keyAgreement
    const card = createPivCard({
      ...cardWith(privateKey, { keyUsage }),
      policies: { '9D': { pin: 'never' } },
    })
    const key = await keyInDriver(card)
    const ecdh = { kdf: CKD.NULL, publicData: pointOf(other.publicKey) }
    const byWebtoki = await key.derive({ type: CKM.ECDH1_DERIVE, ecdh })
    await key.close()
    writeFileSync(file('other'), other.publicKey.export({ format: 'der', type: 'spki' }))
    const [openSc] = await withOpenSc(card, [
      ['--derive', '-m', 'ECDH1-DERIVE', '--input-file', file('other')],
    ])
    expect(byWebtoki).toEqual(Uint8Array.from(diffieHellman({ privateKey, publicKey: other.publicKey })))
    expect(openSc).toEqual(byWebtoki)
  })
})

describe.skipIf(missing !== undefined)('what the openssl program encrypts with OAEP', () => {
  const hashes = [
    [CKM.SHA_1, CKG.MGF1_SHA1, 'sha1'],
    [CKM.SHA224, CKG.MGF1_SHA224, 'sha224'],
    [CKM.SHA256, CKG.MGF1_SHA256, 'sha256'],
    [CKM.SHA384, CKG.MGF1_SHA384, 'sha384'],
    [CKM.SHA512, CKG.MGF1_SHA512, 'sha512'],
  ] as const

  it('is decrypted by the driver, with any hash for the label and any other in MGF1', async () => {
    const card = createPivCard()
    writeFileSync(file('public.pem'), publicKeyOf(card).export({ format: 'pem', type: 'spki' }))
    await withWebtoki(card, async (session, key) => {
      for (const [hash, , name] of hashes)
        for (const [, mgf, mgfName] of hashes) {
          const plain = Uint8Array.from(randomBytes(20))
          const options = [`rsa_padding_mode:oaep`, `rsa_oaep_md:${name}`, `rsa_mgf1_md:${mgfName}`]
          const args = ['pkeyutl', '-encrypt', '-pubin', '-inkey', file('public.pem')]
          args.push(...options.flatMap((option) => ['-pkeyopt', option]))
          const encrypted = Uint8Array.from(execFileSync('openssl', args, { input: plain }))
          const mechanism = { type: CKM.RSA_PKCS_OAEP, oaep: { hash, mgf } } as const
          expect(await session.decrypt(mechanism, key, encrypted), `${name} ${mgfName}`).toEqual(plain)
        }
    })
  })
})
