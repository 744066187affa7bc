// Creates and checks the signed web bundle of the demo, the file format of Isolated Web Apps.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { extname, join } from 'node:path'
import { decode, encode } from 'cborg'
import { Bundle, BundleBuilder } from 'wbn'
import { IntegrityBlockSigner, NodeCryptoSigningStrategy, parsePemKey, WebBundleId } from 'wbn-sign'

const types = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.json': 'application/json',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
}

const pages = join(import.meta.dirname, '..', 'dist', 'page')

/** Returns the app's files: their paths, each with its content. `site` is the origin of the relying party. */
export function filesOf(site) {
  const names = readdirSync(pages, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(pages, name)).isFile(),
  )
  const files = new Map(names.map((name) => [`/${name}`, readFileSync(join(pages, name))]))
  files.set('/site.json', Buffer.from(JSON.stringify({ site })))
  // As in developer mode (server/src/isolated-app.ts): the app's own manifest, and no service worker.
  files.set('/manifest.webmanifest', files.get('/.well-known/manifest.webmanifest'))
  files.delete('/sw.js')
  return files
}

/** The URL of the start page is the folder. */
const urlOf = (origin, path) => origin + path.replace(/^\/index\.html$/, '/')

function headersOf(path, site) {
  return {
    'content-type': types[extname(path)] ?? 'application/octet-stream',
    'content-security-policy': [
      "default-src 'none'",
      "script-src 'self' 'wasm-unsafe-eval'",
      "style-src 'self'",
      "img-src 'self'",
      `connect-src 'self' ${site}`,
      "worker-src 'self'",
      "manifest-src 'self'",
      "base-uri 'none'",
      "object-src 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
      "require-trusted-types-for 'script'",
      'trusted-types webtoki-demo-worker',
    ].join('; '),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-embedder-policy': 'require-corp',
    'cross-origin-resource-policy': 'same-origin',
  }
}

/**
 * Checks that a signed bundle contains these files and that its signature is valid. Does not use wbn-sign, which created the
 * signature. Returns the app's origin; throws if anything is wrong.
 */
export function checkBundle(bytes, files) {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const bundle = buffer.subarray(buffer.length - Number(buffer.readBigUint64BE(buffer.length - 8)))
  const block = buffer.subarray(0, buffer.length - bundle.length)
  const [magic, version, attributes, signatures] = decode(block, { useMaps: true })
  if (Buffer.from(magic).toString() !== '🖋📦') throw new Error('The file is not a signed web bundle.')
  if (Buffer.from(version).toString('latin1') !== '2b\0\0')
    throw new Error('The version of the integrity block is not 2b.')
  const [[signer, signature]] = signatures
  const raw = signer.get('ed25519PublicKey')
  const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw])
  const unsigned = encode([magic, version, attributes, []])
  const parts = [createHash('sha512').update(bundle).digest(), unsigned, encode(signer)]
  const length = (part) => {
    const eight = Buffer.alloc(8)
    eight.writeBigUInt64BE(BigInt(part.length))
    return eight
  }
  const signed = Buffer.concat(parts.flatMap((part) => [length(part), Buffer.from(part)]))
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
  if (!verify(null, signed, key, signature)) throw new Error('The signature of the bundle is not valid.')
  const origin = `isolated-app://${attributes.get('webBundleId')}`
  const read = new Bundle(bundle)
  const expected = [...files.keys()].map((path) => urlOf(origin, path))
  if (read.urls.length !== files.size || !expected.every((url) => read.urls.includes(url)))
    throw new Error('The resources of the bundle are not the files of the page.')
  for (const [path, content] of files) {
    const response = read.getResponse(urlOf(origin, path))
    if (response.status !== 200 || !content.equals(response.body))
      throw new Error(`The bundle contains ${path} with another content.`)
  }
  return origin
}

/** Bundles the files and signs the bundle with an Ed25519 key in PEM, which determines the app's origin. */
export async function signBundle(files, site, pem) {
  const key = parsePemKey(pem)
  const id = new WebBundleId(key)
  const origin = id.serializeWithIsolatedWebAppOrigin().replace(/\/$/, '')
  const builder = new BundleBuilder('b2')
  for (const [path, content] of files) {
    builder.addExchange(urlOf(origin, path), 200, headersOf(path, site), content)
  }
  const strategy = [new NodeCryptoSigningStrategy(key)]
  const signer = new IntegrityBlockSigner(builder.createBundle(), id.serialize(), strategy)
  return { origin, bytes: (await signer.sign()).signedWebBundle }
}
