// Passes bytes in every form to each public function that takes bytes: a Node Buffer in the shared pool of 8 KiB, a view into a
// larger buffer, an ArrayBuffer, an array of another realm. The function must return the same as for a plain Uint8Array or
// refuse with an error. It must never read bytes outside the given ones.
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runInNewContext } from 'node:vm'
import { gzipSync } from 'node:zlib'
import * as apdu from '@webtoki/apdu'
import * as bytesEntry from '@webtoki/apdu/bytes'
import * as openPgp from '@webtoki/apdu/openpgp'
import * as piv from '@webtoki/apdu/piv'
import * as ccid from '@webtoki/ccid'
import * as controls from '@webtoki/ccid/controls'
import * as cryptoki from '@webtoki/cryptoki'
import * as documents from '@webtoki/documents'
import * as loginServer from '@webtoki/login/server'
import * as trust from '@webtoki/trust'
import * as x509 from '@webtoki/crypto'
import * as hashNow from '@webtoki/crypto/hash-now'
import { SignerEngine } from '@webtoki/trust/engine'
import * as path from '@webtoki/trust/path'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { tokenFor } from '../../packages/login/src/browser/token.ts'
import { type Issued, issue, softwareSigner } from '../../packages/trust/test/pki.ts'

const root = join(import.meta.dirname, '..', '..')
const hex = (digits: string): Uint8Array<ArrayBuffer> => Uint8Array.from(Buffer.from(digits, 'hex'))

type Source = ArrayBuffer | ArrayBufferView

/** Returns a view of the bytes in a buffer that contains other bytes before and after them. */
function amid(bytes: Uint8Array, before: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(before + bytes.length + 5).fill(0xa5)
  whole.set(bytes, before)
  return whole.subarray(before, before + bytes.length)
}

const inOtherRealm = (bytes: Uint8Array): Uint8Array<ArrayBuffer> =>
  runInNewContext('Uint8Array.from(bytes)', { bytes: [...bytes] }) as Uint8Array<ArrayBuffer>

/** The forms of bytes. Each function takes the bytes and the number of other bytes before them in the buffer. */
const shapes: Readonly<Record<string, (bytes: Uint8Array, before: number) => Source>> = {
  'a view amid other bytes': amid,
  'a Buffer amid other bytes': (bytes, before) => {
    const { buffer, byteOffset, length } = amid(bytes, before)
    return Buffer.from(buffer, byteOffset, length)
  },
  'a Buffer from the pool': (bytes) => Buffer.from(Buffer.from(bytes).toString('base64'), 'base64'),
  'an ArrayBuffer': (bytes) => Uint8Array.from(bytes).buffer,
  'a DataView': (bytes, before) => {
    const { buffer, byteOffset, length } = amid(bytes, before)
    return new DataView(buffer, byteOffset, length)
  },
  'another realm’s array': inOtherRealm,
  'another realm’s ArrayBuffer': (bytes) => inOtherRealm(bytes).buffer,
}
/** The forms that are Uint8Arrays. No function may refuse them. */
const plain = [
  'a view amid other bytes',
  'a Buffer amid other bytes',
  'a Buffer from the pool',
  'another realm’s array',
]

/** A public function and the bytes to pass. With `takes: 'arrays'` it may refuse forms that are not Uint8Arrays. */
interface Row {
  readonly name: string
  readonly bytes: Uint8Array
  readonly takes: 'all' | 'arrays'
  run(bytes: Uint8Array): unknown
}

let ca: Issued
let person: Issued
let file: Uint8Array
const at = new Date()
const letter = hex('00010203')
const nonce = 'n'.repeat(44)

/** A signer with RSA PKCS #1 v1.5, whose signatures, unlike those of ECDSA, are the same each time. */
function deterministicSigner(issued: Issued): trust.Signer {
  const signer = softwareSigner(issued, 'RS256')
  return { ...signer, sign: (bytes) => signer.sign(bytes) }
}
const signingTime = new Date('2026-11-27T00:00:00Z')

beforeAll(async () => {
  ca = await issue({ name: 'CA', isCa: true })
  person = await issue({ name: 'Ada', issuer: ca, algorithm: 'RS256' })
  file = await documents.signDetached(deterministicSigner(person), letter, { signingTime })
})

const descriptor = hex(
  '36210001000703000000c0120000c01200000067320000ce99050035fe000000000000000000000000000000ba00010010010000' +
    'ffff00000101',
)
const cccGuid = hex(
  '533b3019d4e739da739ced39ce739d836858210842108421c84210c3eb3410000102030405060708090a0b0c0d0e0f350832303330303130313e00fe00',
)

/** A function, because the rows need the certificates of beforeAll. */
const rows = (): readonly Row[] => {
  const signer = deterministicSigner(person)
  const read = x509.readCertificate(person.der)
  // tbsCertificate: version, serial number, algorithm, issuer.
  const name = x509.sequenceOf(read.signed)[3] as x509.DerElement
  const arrays = (name: string, bytes: Uint8Array, run: (bytes: Uint8Array) => unknown): Row => ({
    name,
    bytes,
    takes: 'arrays',
    run,
  })
  const all = (name: string, bytes: Uint8Array, run: (bytes: Uint8Array) => unknown): Row => ({
    name,
    bytes,
    takes: 'all',
    run,
  })
  const sha256 = hex('ab'.repeat(32))
  const ecdsa = hex(`3046022100${'ff'.repeat(32)}022100${'fe'.repeat(32)}`)
  const verifierOf = async (options: Partial<loginServer.LoginVerifierOptions>): Promise<unknown> => {
    const nonces: loginServer.NonceStore = {
      issue: async () => nonce,
      issued: async () => [nonce],
      take: async () => true,
    }
    const verifier = loginServer.createLoginVerifier({
      origin: 'https://example.org',
      anchors: [ca.der],
      revocation: loginServer.notChecked,
      nonces,
      now: () => at,
      ...options,
    })
    const token = await tokenFor('https://example.org', signer, nonce)
    return verifier.verify(JSON.stringify(token), 'session')
  }
  return [
    all('viewOf', letter, (bytes) => apdu.viewOf(bytes)),
    all('dataViewOf', letter, (bytes) => apdu.dataViewOf(bytes).getUint32(0)),
    all('copyOf', letter, (bytes) => apdu.copyOf(bytes)),
    all('bufferOf', letter, (bytes) => new Uint8Array(apdu.bufferOf(bytes))),
    all('pinOf', hex('313233343536'), (bytes) =>
      apdu.pinOf(bytes, { minBytes: 6, maxBytes: 8, alphabet: 'digits' }),
    ),
    arrays('toHex', letter, (bytes) => apdu.toHex(bytes)),
    arrays('concatBytes', letter, (bytes) => apdu.concatBytes(bytes, [1], bytes)),
    arrays('equalBytes', letter, (bytes) => [apdu.equalBytes(bytes, letter), apdu.equalBytes(letter, bytes)]),
    arrays('decodeAtr', hex('3b8c80014b62436172642d563ed1'.padEnd(0)), (bytes) =>
      apdu.decodeAtr(bytes, { lenient: true }),
    ),
    arrays('readAtr', hex('3b80800101'), (bytes) => apdu.readAtr(bytes)),
    arrays('atrStatesExtended', hex('3b80800101'), (bytes) => apdu.atrStatesExtended(bytes)),
    arrays('atrStatesChaining', hex('3b80800101'), (bytes) => apdu.atrStatesChaining(bytes)),
    arrays('decodeHistoricalBytes', hex('0073c00140'), (bytes) => apdu.decodeHistoricalBytes(bytes)),
    arrays('decodeCompactTlvs', hex('73c00140'), (bytes) => apdu.decodeCompactTlvs(bytes)),
    arrays('decodeCommand', hex('00a4040005a000000308'), (bytes) => apdu.decodeCommand(bytes)),
    arrays('decodeResponse', hex('0102039000'), (bytes) => apdu.decodeResponse(bytes)),
    arrays('encodeCommand', letter, (data) =>
      apdu.encodeCommand({ cla: 0, ins: 0xa4, p1: 4, p2: 0, data }, 'short'),
    ),
    arrays('compressionOf', gzipSync('hello'), (bytes) => apdu.compressionOf(bytes)),
    arrays('inflate', Uint8Array.from(gzipSync('hello')), (bytes) => apdu.inflate(bytes)),
    arrays('readTlvHeader', hex('5f2f020102'), (bytes) => apdu.readTlvHeader(bytes)),
    arrays('decodeTlv', hex('5f2f020102'), (bytes) => apdu.decodeTlv(bytes)),
    arrays('decodeTlvs', hex('5f2f020102810101'), (bytes) => apdu.decodeTlvs(bytes)),
    arrays('findTlv', hex('5f2f020102810101'), (bytes) => apdu.findTlv(bytes, 0x81)),
    arrays('firstTlv', hex('5f2f020102810101ff'), (bytes) => apdu.firstTlv(bytes, 0x81)),
    all('isExtended', hex('00cb3fff00000000'), (bytes) => apdu.isExtended(bytes)),
    arrays('encodeTlv', letter, (bytes) => apdu.encodeTlv(0x81, bytes)),
    arrays(
      'decodeApplicationData',
      hex('6e284f10d276000124010304000f4a00000100007314c00101c106010800002000c407007f7f7f030003'),
      (bytes) => openPgp.decodeApplicationData(bytes),
    ),
    arrays('decodeKdf', hex('81010382010883040000001084083132333435363738'), (bytes) =>
      openPgp.decodeKdf(bytes),
    ),
    arrays('derivePin', letter, (bytes) =>
      openPgp.derivePin({ hash: 'SHA-256', hashedBytes: 100, salt: letter }, bytes, () =>
        createHash('sha256'),
      ),
    ),
    arrays('decodePublicKey', hex('7f490a810300c3018203010001'), (bytes) => openPgp.decodePublicKey(bytes)),
    arrays('isPivApplication', hex('61084f06000010000100'), (bytes) => piv.isPivApplication(bytes)),
    arrays('decodeDiscovery', hex('7e124f0ba0000003080000100001005f2f024010'), (bytes) =>
      piv.decodeDiscovery(bytes),
    ),
    arrays('decodeChuid', cccGuid, (bytes) => piv.decodeChuid(bytes)),
    arrays(
      'decodeCertificate',
      apdu.encodeTlv(0x53, apdu.encodeTlv(0x70, person.der), [0x71, 1, 0, 0xfe, 0]),
      (bytes) => piv.decodeCertificate(bytes),
    ),
    arrays('encodeDigestInfo', sha256, (bytes) => x509.encodeDigestInfo('SHA-256', bytes)),
    arrays('padPkcs1', sha256, (bytes) => x509.padPkcs1(bytes, 256)),
    arrays('ecdsaSignatureToDer', sha256, (bytes) => x509.ecdsaSignatureToDer(bytes)),
    arrays('padPss', sha256, (digest) =>
      hashNow.padPss(digest, {
        keyBits: 2048,
        saltBytes: 32,
        hash: 'SHA-256',
        mgfHash: 'SHA-256',
        randomBytes: (length) => new Uint8Array(length),
      }),
    ),
    arrays('fitDigest', sha256, (bytes) => x509.fitDigest(bytes, 32)),
    arrays('ecdsaSignatureFromDer', ecdsa, (bytes) => x509.ecdsaSignatureFromDer(bytes, 32)),
    arrays('decodeCcidDescriptor', descriptor, (bytes) => ccid.decodeCcidDescriptor(bytes)),
    arrays(
      'findCcidInterfaces',
      apdu.concatBytes(hex('09025d000101008032' + '090400000003ff000000'.slice(0, 18)), descriptor),
      (bytes) => ccid.findCcidInterfaces(bytes),
    ),
    all('viewCertificate', person.der, (bytes) => x509.viewCertificate(bytes)?.subject),
    arrays('readExtendedKeyUsage', hex('300406022a03'), (bytes) => x509.readExtendedKeyUsage(bytes)),
    arrays('readPolicies', hex('3006300406022a03'), (bytes) => x509.readPolicies(bytes)),
    arrays('ecdsaNumbers', ecdsa, (bytes) => x509.ecdsaNumbers(bytes)),
    arrays('keyOf', letter, (bytes) => apdu.keyOf(bytes)),
    arrays('readBasicConstraints', hex('30030101ff'), (bytes) => x509.readBasicConstraints(bytes)),
    arrays('readKeyUsage', hex('03020780'), (bytes) => x509.readKeyUsage(bytes)),
    arrays('asciiOf', letter, (bytes) => x509.asciiOf(bytes)),
    arrays('readName', name.der, (bytes) => x509.readName(bytes)),
    arrays('readTime', hex('170d3236313132373030303030305a'), (bytes) => x509.readTime(bytes)),
    arrays('readPublicKey', read.publicKeyInfo, (bytes) => x509.readPublicKey(bytes)),
    arrays('checkedPublicKey', read.publicKeyInfo, (bytes) => trust.checkedPublicKey(bytes)),
    arrays('areRsaNumbers', sha256, (bytes) => x509.areRsaNumbers(bytes, bytes)),
    arrays('bitsOf', sha256, (bytes) => x509.bitsOf(bytes)),
    arrays('encodeUnsigned', sha256, (bytes) => x509.encodeUnsigned(bytes)),
    arrays('encodePointInfo', sha256, (bytes) => x509.encodePointInfo(x509.curves[0] as x509.Curve, bytes)),
    arrays('encodePublicKeyInfo', sha256, (bytes) => x509.encodePublicKeyInfo(hex('0500'), bytes)),
    arrays('encodeAlgorithmIdentifier', hex('0500'), (bytes) =>
      x509.encodeAlgorithmIdentifier('1.2.840.113549.1.1.1', bytes),
    ),
    arrays('curveOfParameters', hex('06052b81040022'), (bytes) => x509.curveOfParameters(bytes)),
    arrays('readHash', hex('300b0609608648016503040201'), (bytes) => x509.readHash(bytes)),
    arrays('readSignatureScheme', read.signatureAlgorithm, (bytes) => x509.readSignatureScheme(bytes)),
    arrays('certificateUse', person.der, (bytes) => x509.certificateUse(bytes, 'signing')),
    arrays('issuerUse', ca.der, (bytes) => x509.issuerUse(bytes, 'signing')),
    arrays('requireCertificateUse', person.der, (bytes) => x509.requireCertificateUse(bytes, 'signing')),
    arrays('elementsOf', name.der, (bytes) => x509.elementsOf(bytes)),
    arrays('onlyElement', name.der, (bytes) => x509.onlyElement(bytes)),
    arrays('sequenceOf', name.der, (bytes) => x509.sequenceOf(bytes)),
    arrays('checkDer', name.der, (bytes) => x509.checkDer(bytes)),
    arrays('signatureOfCertificate', person.der, (bytes) => x509.signatureOfCertificate(bytes)),
    all('readCertificate', ca.der, (bytes) => x509.readCertificate(bytes).der),
    all('verifyPath', person.der, (bytes) => path.verifyPath(bytes, { anchors: [ca.der], at })),
    all('verifyPath: anchors', ca.der, (bytes) => path.verifyPath(person.der, { anchors: [bytes], at })),
    all('verifyPath: intermediates', ca.der, (bytes) =>
      path.verifyPath(person.der, { anchors: [ca.der], intermediates: [bytes], at }),
    ),
    all('SignerEngine.sign', letter, async (bytes) => {
      const engine = new SignerEngine(signer)
      const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: { name: engine.hash } }
      return new Uint8Array(await engine.sign(algorithm, engine.privateKey, bytes))
    }),
    all('documentAtCall', letter, (bytes) => documents.documentAtCall(bytes)),
    all('digestDocument', letter, (bytes) => documents.digestDocument(['SHA-256', 'SHA-512'], bytes)),
    all('digestDocument: pieces', letter, (bytes) =>
      documents.digestDocument(
        ['SHA-256'],
        (async function* () {
          yield bytes
          yield bytes
        })(),
      ),
    ),
    all('signDetached', letter, (bytes) => documents.signDetached(signer, bytes, { signingTime })),
    all('signDetached: certificate', person.der, (certificate) =>
      documents.signDetached({ ...signer, certificate }, letter, { signingTime }),
    ),
    all('signDetached: chain', ca.der, (bytes) =>
      documents.signDetached({ ...signer, chain: [bytes] }, letter, { signingTime }),
    ),
    all('signDetached: signature of RSA', hex('01'.repeat(256)), (bytes) =>
      documents.signDetached({ ...signer, sign: async () => bytes }, letter, { signingTime }),
    ),
    all('signDetached: signature of ECDSA', hex('81'.repeat(64)), (bytes) =>
      documents.signDetached({ ...signer, algorithm: 'ES256', sign: async () => bytes }, letter, {
        signingTime,
      }),
    ),
    all('verifyDetached', file, (bytes) =>
      documents.verifyDetached(bytes, letter, { trust: documents.trustedBy([ca.der]), at }),
    ),
    all('verifyDetached: data', letter, (bytes) =>
      documents.verifyDetached(file, bytes, { trust: documents.notChecked, at }),
    ),
    all('trustedBy', ca.der, (bytes) =>
      documents.verifyDetached(file, letter, { trust: documents.trustedBy([bytes]), at }),
    ),
    all('createLoginVerifier: anchors', ca.der, (bytes) => verifierOf({ anchors: [bytes] })),
    all('createLoginVerifier: intermediates', ca.der, (bytes) => verifierOf({ intermediates: [bytes] })),
    all('createLoginToken: certificate', person.der, (certificate) =>
      tokenFor('https://example.org', { ...signer, certificate }, nonce),
    ),
    all('createLoginToken: signature', letter, (bytes) =>
      tokenFor('https://example.org', { ...signer, sign: async () => bytes }, nonce),
    ),
  ]
}

const toHexOf = (source: Source): string => Buffer.from(apdu.viewOf(source)).toString('hex')

/** Calls the function and returns its result as JSON, in which bytes of every form are hex. */
async function outcome(row: Row, bytes: Source): Promise<unknown> {
  const value = await row.run(bytes as Uint8Array)
  return JSON.stringify(value, (_key, each: unknown) => {
    if (apdu.isByteSource(each)) return toHexOf(each)
    // JSON.stringify has already called Buffer.toJSON.
    const { type, data } = (each ?? {}) as { type?: unknown; data?: number[] }
    if (type === 'Buffer' && data !== undefined) return Buffer.from(data).toString('hex')
    return typeof each === 'bigint' ? each.toString() : each
  })
}

describe('a public function that takes bytes', () => {
  it('returns the same for bytes in every form as for a plain Uint8Array, or refuses them', {
    timeout: 120_000,
  }, async () => {
    const wrong: string[] = []
    for (const row of rows()) {
      const expected = await outcome(row, Uint8Array.from(row.bytes))
      for (const [shape, make] of Object.entries(shapes)) {
        for (const before of [1, 3, 16]) {
          const given = make(row.bytes, before)
          const actual = await outcome(row, given).catch((error: unknown) => error)
          if (actual instanceof Error && row.takes === 'arrays' && !plain.includes(shape)) continue
          if (actual !== expected) wrong.push(`${row.name}, ${shape}: ${String(actual).slice(0, 200)}`)
          // The function must not write into its input.
          if (toHexOf(given) !== toHexOf(row.bytes))
            wrong.push(`${row.name}, ${shape}: the given bytes were changed`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  it('has a row in this test', () => {
    const names = new Set(rows().map(({ name }) => name.split(':')[0]))
    const entries = {
      apdu,
      'apdu/bytes': bytesEntry,
      'apdu/openpgp': openPgp,
      'apdu/piv': piv,
      ccid,
      'ccid/controls': controls,
      cryptoki,
      documents,
      'login/server': loginServer,
      trust,
      crypto: x509,
      'trust/path': path,
    }
    const missing = Object.entries(entries).flatMap(([entry, module]) =>
      Object.keys(module)
        .filter((name) => takesBytes(entry, name) && !names.has(name))
        .map((name) => `${entry}: ${name}`),
    )
    expect(missing).toEqual([])
  })

  it('such as signDetached writes a signature in a pooled Buffer without the bytes around it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 64, maxLength: 64 }), fc.nat(64), async (raw, before) => {
        const signer = { ...deterministicSigner(person), algorithm: 'ES256' as const }
        const sign = (bytes: Uint8Array) =>
          documents.signDetached({ ...signer, sign: async () => bytes }, letter, { signingTime })
        const given = amid(raw, before)
        expect(await sign(Buffer.from(given.buffer, given.byteOffset, given.length))).toEqual(await sign(raw))
      }),
      { numRuns: 30 },
    )
  })
})

/** True if the function's declaration, in the sources of the package, has a parameter of bytes. */
function takesBytes(entry: string, name: string): boolean {
  const [folder = ''] = entry.split('/')
  const sources = sourcesOf(
    join(
      root,
      'packages',
      folder,
      'src',
      entry === folder ? 'index.ts' : `${entry.slice(folder.length + 1)}.ts`,
    ),
  )
  return sources.some((text) => {
    const declared = new RegExp(`export (?:async )?function\\*? ${name}\\b[^(]*\\(([\\s\\S]*?)\\)\\s*:`).exec(
      text,
    )
    return declared !== null && /Uint8Array|ByteSource|DocumentData/.test(declared[1] ?? '')
  })
}

/** Returns the texts of a file and of all files that it exports from. */
function sourcesOf(start: string): readonly string[] {
  const found = new Map<string, string>()
  const queue = [existsSync(start) ? start : start.replace(/\.ts$/, '/index.ts')]
  for (const each of queue) {
    if (found.has(each)) continue
    const text = readFileSync(each, 'utf8')
    found.set(each, text)
    for (const [, target] of text.matchAll(/^export [^;]*?from '(\.[^']+)'/gm))
      queue.push(join(dirname(each), target ?? ''))
  }
  return [...found.values()]
}
