/**
 * Checks the virtual OpenPGP card with GnuPG's scdaemon and OpenSC, in a virtual reader with pcscd and libccid, and
 * with vpcd.
 */
import {
  constants,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  publicEncrypt,
  verify,
} from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import {
  AppletCard,
  createOpenPgpCard,
  type OpenPgpCard,
  type OpenPgpCardOptions,
  type OpenPgpKeyUse,
  openpgp,
  piv,
  type VirtualCard,
} from '../src/index.ts'
import { behindVpcd, inReader, type Place, runInside, whatPlacesLack } from './places.ts'
import { Scdaemon, scdaemonProgram } from './scdaemon.ts'

const missing = whatPlacesLack([scdaemonProgram, 'pkcs11-tool', 'openpgp-tool'])
if (missing !== undefined) {
  if (process.env['CI'] === 'true' && process.getuid?.() === 0) throw new Error(missing)
  console.warn(`The OpenPGP card is not checked with scdaemon and OpenSC: ${missing}.`)
}

const serial = 'D276000124010304FF004A0000010000'
const message = Buffer.from('Dear reader,\n')
const digest = createHash('sha256').update(message).digest()
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

const keyOf = (spki: Uint8Array | undefined): KeyObject =>
  createPublicKey({ key: Buffer.from(spki ?? new Uint8Array(0)), format: 'der', type: 'spki' })

/** Reads the key from the S-expression `(public-key (ecc (curve "NIST P-256") (q …)))`: 65 bytes after `1:q65:`. */
function p256KeyOf(expression: Buffer): KeyObject {
  const at = expression.indexOf('1:q65:') + '1:q65:'.length
  const [x, y] = [expression.subarray(at + 1, at + 33), expression.subarray(at + 33, at + 65)]
  const jwk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }
  return createPublicKey({ key: jwk, format: 'jwk' })
}

/** Computes the version 4 fingerprint of a P-256 key created at 2020-01-01T00:00:00Z (RFC 4880, 12.2; RFC 6637, 9). */
function fingerprint(card: OpenPgpCard, use: OpenPgpKeyUse): string {
  const { x = '', y = '' } = keyOf(card.publicKeyOf(use)).export({ format: 'jwk' })
  const point = `04${hex(Buffer.from(x, 'base64url'))}${hex(Buffer.from(y, 'base64url'))}`
  const [algorithm, kdf] = use === 'decryption' ? ['12', '03010807'] : ['13', '']
  const packet = `045e0be100${algorithm}082a8648ce3d0301070203${point}${kdf}`
  const length = (packet.length / 2).toString(16).padStart(4, '0')
  return createHash('sha1')
    .update(Buffer.from(`99${length}${packet}`, 'hex'))
    .digest('hex')
}

/** Returns INS, P1, P2 and the status word of the commands that the card executed since the last call. */
function executed(card: { readonly log: OpenPgpCard['log'] }): readonly string[] {
  return card.log
    .splice(0)
    .map(({ ins, p1, p2, sw }) => `${hex(Uint8Array.of(ins, p1, p2))} ${sw.toString(16)}`)
}

describe.skipIf(missing !== undefined)('scdaemon and the OpenPGP card', () => {
  const ends: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  function withScdaemon<Card extends VirtualCard>(place: Place<Card>) {
    ends.push(() => place.end())
    const scdaemon = new Scdaemon(place.daemon)
    ends.push(() => scdaemon.end())
    return { ...place, scdaemon }
  }

  async function start(options: OpenPgpCardOptions = {}) {
    return withScdaemon(await inReader(createOpenPgpCard(options), 'yubikey4'))
  }

  it.each([
    ['connected to vpcd', () => behindVpcd(createOpenPgpCard)],
    [
      'in a reader at short APDU level',
      () => inReader(createOpenPgpCard({ extendedLength: false }), 'omnikey3021'),
    ],
    ['in a reader at extended APDU level', () => inReader(createOpenPgpCard(), 'yubikey4')],
  ] as const)('scdaemon reads its data and its key and signs with it, %s', async (_, make) => {
    const { scdaemon, card } = withScdaemon(await make())
    const learned = await scdaemon.ask('LEARN --force')
    expect(learned.outcome).toBe('OK')
    expect(learned.status).toEqual(
      expect.arrayContaining([
        `SERIALNO ${serial}`,
        'APPTYPE openpgp',
        'EXTCAP gc=1+ki=0+fc=1+pd=0+mcl3=2048+aac=1+sm=0+si=0+dec=0+bt=0+kdf=1',
        'DISP-NAME Lovelace<<Ada',
        'CHV-STATUS +0+127+127+127+3+0+3',
        'SIG-COUNTER 0',
        'KEY-TIME 1 1577836800',
        expect.stringMatching(/^KEY-FPR 1 [0-9A-F]{40}$/),
        expect.stringMatching(/^KEYPAIRINFO [0-9A-F]{40} OPENPGP\.1 sc$/),
        expect.stringMatching(/^KEYPAIRINFO [0-9A-F]{40} OPENPGP\.2 e$/),
        expect.stringMatching(/^KEYPAIRINFO [0-9A-F]{40} OPENPGP\.3 sa$/),
      ]),
    )
    const attributes = await scdaemon.ask('GETATTR KEY-ATTR')
    expect(attributes.status).toEqual([
      'KEY-ATTR 1 19 NIST P-256',
      'KEY-ATTR 2 18 NIST P-256',
      'KEY-ATTR 3 19 NIST P-256',
    ])
    const key = p256KeyOf((await scdaemon.ask('READKEY OPENPGP.1')).data)
    expect(key.equals(keyOf(card.publicKeyOf('signature')))).toBe(true)

    executed(card)
    await scdaemon.ask(`SETDATA ${hex(digest)}`)
    const signed = await scdaemon.ask('PKSIGN --hash=sha256 OPENPGP.1', ['123456'])
    expect(signed.outcome).toBe('OK')
    expect(signed.pinPrompts).toEqual([expect.stringContaining('Please unlock the card')])
    expect(executed(card)).toEqual(expect.arrayContaining(['200081 9000', '2a9e9a 9000']))
    expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signed.data)).toBe(true)
    expect((await scdaemon.ask('GETATTR SIG-COUNTER')).status).toEqual(['SIG-COUNTER 1'])
  })

  const pkSign = async (scdaemon: Scdaemon, pins: readonly string[]) => {
    await scdaemon.ask(`SETDATA ${hex(digest)}`)
    return scdaemon.ask('PKSIGN --hash=sha256 OPENPGP.1', pins)
  }

  it('scdaemon requests the PIN for each signature if PW1 is valid for one signature', async () => {
    const { scdaemon, card } = await start()
    await scdaemon.ask('SERIALNO openpgp')
    for (let count = 1; count <= 2; count++) {
      const { outcome, pinPrompts } = await pkSign(scdaemon, ['123456'])
      expect([outcome, pinPrompts.length, card.signatureCount, card.verified]).toEqual(['OK', 1, count, []])
    }
  })

  it('scdaemon sets PW1 valid for several signatures, and then requests the PIN once', async () => {
    const { scdaemon, card } = await start()
    await scdaemon.ask('SERIALNO openpgp')
    expect((await scdaemon.ask('SETATTR CHV-STATUS-1 %01', ['12345678'])).outcome).toBe('OK')
    expect((await pkSign(scdaemon, ['123456'])).pinPrompts.length).toBe(1)
    expect((await pkSign(scdaemon, [])).pinPrompts.length).toBe(0)
    expect(card.signatureCount).toBe(2)
  })

  it.each(['63Cx', '6982'] as const)(
    'scdaemon reports a wrong PIN with status word %s, and the attempts left',
    async (wrongPin) => {
      const { scdaemon, card } = await start({ wrongPin })
      await scdaemon.ask('SERIALNO openpgp')
      expect((await pkSign(scdaemon, ['654321'])).outcome).toMatch(/Bad PIN/)
      expect(card.pinTriesLeft).toBe(2)
      expect((await scdaemon.ask('GETATTR CHV-STATUS')).status).toEqual(['CHV-STATUS +0+127+127+127+2+0+3'])
      expect((await pkSign(scdaemon, ['654321'])).outcome).toMatch(/Bad PIN/)
      expect((await pkSign(scdaemon, ['654321'])).outcome).toMatch(/Bad PIN|PIN blocked/)
      expect((await pkSign(scdaemon, ['123456'])).outcome).toMatch(/PIN blocked|Bad PIN/)
      expect([card.pinTriesLeft, card.signatureCount]).toEqual([0, 0])
      expect((await scdaemon.ask('PASSWD --reset 1', ['12345678', '234567', '234567'])).outcome).toBe('OK')
      expect((await pkSign(scdaemon, ['234567'])).outcome).toBe('OK')
    },
  )

  it.each([1, 3] as const)(
    'scdaemon derives PINs according to a KDF object with %i salts',
    async (kdfSalts) => {
      const { scdaemon, card } = await start({ kdf: 'sha256', kdfSalts })
      await scdaemon.ask('SERIALNO openpgp')
      expect((await pkSign(scdaemon, ['654321'])).outcome).toMatch(/Bad PIN/)
      expect((await pkSign(scdaemon, ['123456'])).outcome).toBe('OK')
      expect([card.pinTriesLeft, card.signatureCount]).toEqual([3, 1])
      const verifications = card.log.filter(({ ins }) => ins === 0x20)
      expect(verifications.map(({ dataBytes, sw }) => [dataBytes, sw])).toEqual([
        [32, 0x63c2],
        [32, 0x9000],
      ])
      // The admin PIN has its own salt, or shares the single one.
      expect((await scdaemon.ask('SETATTR CHV-STATUS-1 %01', ['12345678'])).outcome).toBe('OK')
    },
  )

  it('scdaemon signs, authenticates and decrypts with RSA keys', async () => {
    const { scdaemon, card } = await start({
      algorithms: { signature: 'rsa2048', decryption: 'rsa2048', authentication: 'rsa2048' },
    })
    await scdaemon.ask('SERIALNO openpgp')
    const signed = await pkSign(scdaemon, ['123456'])
    expect(verify('sha256', message, keyOf(card.publicKeyOf('signature')), signed.data)).toBe(true)

    // PKAUTH expects a complete DigestInfo.
    await scdaemon.ask(`SETDATA 3031300d060960864801650304020105000420${hex(digest)}`)
    const authenticated = await scdaemon.ask('PKAUTH OPENPGP.3', ['123456'])
    const own = keyOf(card.publicKeyOf('authentication'))
    expect(verify('sha256', message, own, authenticated.data)).toBe(true)

    const key = keyOf(card.publicKeyOf('decryption'))
    const sealed = publicEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, message)
    await scdaemon.ask(`SETDATA ${hex(sealed)}`)
    const opened = await scdaemon.ask('PKDECRYPT OPENPGP.2', ['123456'])
    expect(opened.data.toString()).toBe(message.toString())
  })

  it.each([
    ['p256', 'prime256v1'],
    ['x25519', undefined],
  ] as const)('scdaemon agrees on a secret with %s', async (decryption, namedCurve) => {
    const { scdaemon, card } = await start({ algorithms: { decryption } })
    await scdaemon.ask('SERIALNO openpgp')
    const other = namedCurve ? generateKeyPairSync('ec', { namedCurve }) : generateKeyPairSync('x25519')
    const { x = '', y = '' } = other.publicKey.export({ format: 'jwk' })
    const prefix = namedCurve ? '04' : '40'
    await scdaemon.ask(
      `SETDATA ${prefix}${hex(Buffer.from(x, 'base64url'))}${hex(Buffer.from(y, 'base64url'))}`,
    )
    const { data } = await scdaemon.ask('PKDECRYPT OPENPGP.2', ['123456'])
    const own = { privateKey: other.privateKey, publicKey: keyOf(card.publicKeyOf('decryption')) }
    // A format byte precedes the coordinate.
    expect(hex(data.subarray(1))).toBe(hex(diffieHellman(own)))
  })

  it('scdaemon signs with Ed25519', async () => {
    const { scdaemon, card } = await start({ algorithms: { signature: 'ed25519' } })
    await scdaemon.ask('SERIALNO openpgp')
    const { data } = await pkSign(scdaemon, ['123456'])
    expect(verify(null, digest, keyOf(card.publicKeyOf('signature')), data)).toBe(true)
  })

  it('scdaemon reports the button of a card that requires a touch, and waits for the touch', async () => {
    const touched: string[] = []
    // scdaemon 2.2 does not support the policies themselves (DO D6 to D8).
    const { scdaemon } = await start({
      touch: { signature: 'on' },
      onTouch: (use) => touched.push(use) > 0,
    })
    const { status } = await scdaemon.ask('LEARN --force')
    expect(status).toContainEqual(expect.stringMatching(/^EXTCAP .*\+bt=1/))
    expect((await pkSign(scdaemon, ['123456'])).outcome).toBe('OK')
    expect(touched).toEqual(['signature'])
  })

  it('a new card has the same fingerprints that scdaemon computes', async () => {
    const { scdaemon, card } = await start()
    const reported = async (): Promise<readonly string[]> => {
      const { status } = await scdaemon.ask('LEARN --force')
      return status.flatMap((line) => /^KEY-FPR \d (.*)$/.exec(line)?.[1]?.toLowerCase() ?? [])
    }
    const computed = () =>
      [
        fingerprint(card, 'signature'),
        fingerprint(card, 'decryption'),
        fingerprint(card, 'authentication'),
      ] as const
    expect(await reported()).toEqual(computed())
    for (const number of [1, 2, 3]) {
      const made = await scdaemon.ask(`GENKEY --force --timestamp=20200101T000000 ${number}`, ['12345678'])
      expect(made.outcome).toBe('OK')
    }
    expect(await reported()).toEqual(computed())
  })

  it('scdaemon generates a key and writes its fingerprint and time', async () => {
    const { scdaemon, card } = await start({ absentKeys: ['signature'] })
    await scdaemon.ask('SERIALNO openpgp')
    expect((await pkSign(scdaemon, ['123456'])).outcome).not.toBe('OK')
    const made = await scdaemon.ask('GENKEY --timestamp=20260101T000000 1', ['12345678'])
    expect(made.outcome).toBe('OK')
    expect(made.status).toEqual(expect.arrayContaining([expect.stringMatching(/^KEY-FPR [0-9A-F]{40}$/)]))
    const [fingerprint] = made.status.flatMap((line) => /^KEY-FPR (.*)$/.exec(line)?.[1] ?? [])
    const learned = await scdaemon.ask('LEARN --force')
    expect(learned.status).toContain(`KEY-FPR 1 ${fingerprint}`)
    expect(learned.status).toContain('KEY-TIME 1 1767225600')
    const signed = await pkSign(scdaemon, ['123456'])
    const key = keyOf(card.publicKeyOf('signature'))
    expect(verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signed.data)).toBe(true)
  })

  it('OpenSC finds PIV on a card with both applets, and scdaemon signs with OpenPGP', async () => {
    const openPgpApplet = openpgp()
    const card = new AppletCard({ applets: [piv(), openPgpApplet] })
    const place = await inReader(card, 'yubikey4')
    const seen = await runInside(place.daemon, 'pkcs11-tool', '--list-token-slots')
    expect(seen.out).toMatch(/^ *token manufacturer : piv_II$/m)
    const { scdaemon } = withScdaemon(place)
    await scdaemon.ask('SERIALNO openpgp')
    expect((await pkSign(scdaemon, ['123456'])).outcome).toBe('OK')
    expect(openPgpApplet.signatureCount).toBe(1)
  })

  // OpenSC presents PW1 as two tokens: 82 in the first slot, 81 in the second.
  it.each([
    ['signature', '01', '1', '2a9e9a 9000'],
    ['authentication', '03', '0', '880000 9000'],
  ] as const)('OpenSC signs with the %s key, and Node verifies it', async (use, id, slot, command) => {
    const folder = mkdtempSync(join(tmpdir(), 'webtoki-judge-'))
    ends.push(async () => rmSync(folder, { recursive: true, force: true }))
    const algorithms = { signature: 'rsa2048', authentication: 'rsa2048' } as const
    const place = await inReader(createOpenPgpCard({ algorithms, extendedLength: false }), 'omnikey3021')
    ends.push(() => place.end())
    const known = await runInside(place.daemon, 'openpgp-tool', '-C', '-K')
    expect(known.out).toMatch(/^Serial number: +4A000001$/m)
    expect(known.out).toMatch(/^Sig Algorithm: +RSA2048$/m)

    const [input, output] = [join(folder, 'message'), join(folder, 'signature')]
    writeFileSync(input, message)
    executed(place.card)
    const { code, err } = await runInside(
      place.daemon,
      'pkcs11-tool',
      ...['--slot-index', slot, '--login', '--pin', '123456', '--sign', '--id', id, '-m', 'SHA256-RSA-PKCS'],
      ...['--input-file', input, '--output-file', output],
    )
    expect({ code, err }).toMatchObject({ code: 0 })
    expect(executed(place.card)).toContain(command)
    expect(verify('sha256', message, keyOf(place.card.publicKeyOf(use)), readFileSync(output))).toBe(true)
  })
})
