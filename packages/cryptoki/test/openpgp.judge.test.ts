/** GnuPG's scdaemon and this library's driver, on the same virtual OpenPGP card. */
import {
  constants,
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  verify,
} from 'node:crypto'
import { ccidSlots } from '@webtoki/ccid'
import { CKA, CKD, CKM, CKO, Cryptoki, type Slot } from '@webtoki/cryptoki'
import { openPgpDriver } from '@webtoki/cryptoki/openpgp'
import {
  createOpenPgpCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  readerProfiles,
  VirtualCcidReader,
  virtualUsb,
} from '@webtoki/simulator'
import { firstValueFrom } from 'rxjs'
import { describe, expect, it } from 'vitest'
import { inReader, runInside, whatPlacesLack } from '../../simulator/test/places.ts'
import { Scdaemon, scdaemonProgram } from '../../simulator/test/scdaemon.ts'
import { keyInDriver, pointOf } from './key-management.ts'
import { rightPin } from './piv-setup.ts'

const missing = whatPlacesLack([scdaemonProgram, 'pkcs11-tool'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The OpenPGP driver is not compared with scdaemon and OpenSC: ${missing}.`)
}

const message = Buffer.from('Dear reader,\n')
const digest = createHash('sha256').update(message).digest()

/** Runs `use` with this library's driver, with the card in a separate reader meanwhile. */
async function withOurDriver<T>(card: OpenPgpCard, use: (slots: readonly Slot[]) => Promise<T>): Promise<T> {
  const reader = new VirtualCcidReader(readerProfiles.dualiAbcm6)
  reader.insert(card)
  const usb = virtualUsb([reader], { protectedClasses: false })
  const cryptoki = new Cryptoki({
    sources: [ccidSlots({ usb })],
    drivers: [openPgpDriver()],
    login: 'on-demand',
  })
  try {
    // The card has two slots after it was read.
    await (await firstValueFrom(cryptoki.slots$))[0]?.tokenInfo()
    return await use(await firstValueFrom(cryptoki.slots$))
  } finally {
    await cryptoki.close()
    reader.remove()
  }
}

/** What this library's driver reads and signs. */
const withWebtoki = (card: OpenPgpCard) =>
  withOurDriver(card, async ([slot]) => {
    const session = await slot?.openSession({ pin: rightPin })
    const [key] = (await session?.findObjects({ [CKA.CLASS]: CKO.PRIVATE_KEY })) ?? []
    if (slot === undefined || session === undefined || key === undefined) throw new Error('No key found.')
    const signature = await session.sign({ type: CKM.ECDSA }, key, digest)
    return { info: await slot.tokenInfo(), point: key.get(CKA.EC_POINT).slice(2), signature }
  })

/** What scdaemon reads and signs with the same card afterwards. */
async function withScdaemon(card: OpenPgpCard) {
  const setup = await inReader(card, 'yubikey4')
  const openSc = await runInside(setup.daemon, 'pkcs11-tool', '--list-token-slots')
  const scdaemon = new Scdaemon(setup.daemon)
  try {
    await scdaemon.ask('SERIALNO openpgp')
    // The S-expression `(public-key (ecc (curve "NIST P-256") (q …)))`: 65 bytes after `1:q65:`.
    const { data: expression } = await scdaemon.ask('READKEY OPENPGP.1')
    const at = expression.indexOf('1:q65:') + '1:q65:'.length
    const point = new Uint8Array(expression.subarray(at, at + 65))
    await scdaemon.ask(`SETDATA ${digest.toString('hex')}`)
    const { outcome, data } = await scdaemon.ask('PKSIGN --hash=sha256 OPENPGP.1', ['123456'])
    const counter = await scdaemon.ask('GETATTR SIG-COUNTER')
    return { outcome, point, signature: new Uint8Array(data), counter: counter.status, openSc: openSc.out }
  } finally {
    await scdaemon.end()
    await setup.end()
  }
}

function keyOf(point: Uint8Array): KeyObject {
  const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((half) =>
    Buffer.from(half).toString('base64url'),
  )
  return createPublicKey({ key: { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '' }, format: 'jwk' })
}

describe.skipIf(missing !== undefined)('scdaemon and this library on one OpenPGP card', () => {
  it.each<[string, OpenPgpCardOptions]>([
    ['PINs sent in plain', {}],
    // GnuPG 2.2 reads KDF objects of SHA-256 only.
    ['PINs derived with three salts', { kdf: 'sha256' }],
    ['PINs derived with one salt', { kdf: 'sha256', kdfSalts: 1 }],
  ])('read the same key and sign the same digest: %s', async (_, options) => {
    const card = createOpenPgpCard(options)
    const byWebtoki = await withWebtoki(card)
    expect(card.signatureCount).toBe(1)
    const byScdaemon = await withScdaemon(card)
    expect([byScdaemon.outcome, byScdaemon.counter, card.signatureCount, card.pinTriesLeft]).toEqual([
      'OK',
      ['SIG-COUNTER 2'],
      2,
      3,
    ])
    expect(byWebtoki.point).toEqual(byScdaemon.point)
    for (const { signature } of [byWebtoki, byScdaemon]) {
      const key = { key: keyOf(byWebtoki.point), dsaEncoding: 'ieee-p1363' as const }
      expect(verify('sha256', message, key, signature)).toBe(true)
    }
    expect(/serial num +: *(\w+)/.exec(byScdaemon.openSc)?.[1]).toBe(byWebtoki.info.serialNumber)
  })

  it('decipher the same RSA cryptogram', async () => {
    const card = createOpenPgpCard({ algorithms: { decryption: 'rsa2048' } })
    const spki = Buffer.from(card.publicKeyOf('decryption') ?? [])
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    const cryptogram = publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, message)
    const byWebtoki = await withOurDriver(card, async (slots) => {
      const session = await slots[1]?.openSession({ pin: rightPin })
      const template = { [CKA.CLASS]: CKO.PRIVATE_KEY, [CKA.DECRYPT]: true }
      const [own] = (await session?.findObjects(template)) ?? []
      if (session === undefined || own === undefined) throw new Error('No key found.')
      return session.decrypt({ type: CKM.RSA_PKCS }, own, cryptogram)
    })
    const byScdaemon = await deciphered(card, cryptogram)
    expect(Buffer.from(byWebtoki).toString()).toBe(message.toString())
    expect(Buffer.from(byScdaemon).toString()).toBe(message.toString())
  })

  it('agree on the same secret on P-256', async () => {
    const card = createOpenPgpCard()
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const publicData = pointOf(pair.publicKey)
    const key = await keyInDriver(card, { driver: openPgpDriver(), token: 1, id: 2 })
    const byWebtoki = await key.derive(
      { type: CKM.ECDH1_DERIVE, ecdh: { kdf: CKD.NULL, publicData } },
      '123456',
    )
    await key.close()
    // scdaemon puts a format byte before the coordinate.
    expect(Uint8Array.from((await deciphered(card, publicData)).subarray(1))).toEqual(byWebtoki)
  })
})

/** scdaemon's result for a cryptogram or a point with the decryption key. */
async function deciphered(card: OpenPgpCard, input: Uint8Array): Promise<Uint8Array> {
  const setup = await inReader(card, 'yubikey4')
  const scdaemon = new Scdaemon(setup.daemon)
  try {
    await scdaemon.ask('SERIALNO openpgp')
    await scdaemon.ask(`SETDATA ${Buffer.from(input).toString('hex')}`)
    return (await scdaemon.ask('PKDECRYPT OPENPGP.2', ['123456'])).data
  } finally {
    await scdaemon.end()
    await setup.end()
  }
}
