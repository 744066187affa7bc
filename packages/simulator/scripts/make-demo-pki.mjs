// Generates src/piv/demo-keys.ts with openssl: the demo CA and the certificates of the virtual PIV cards (RFC 5280).
// The keys are stored in scripts/demo-pki/*.pem and generated only if they are missing, so a second run changes
// nothing. They are published test keys and must not be used to protect anything.
import { execFileSync } from 'node:child_process'
import { createPrivateKey } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const keys = join(here, 'demo-pki')
const target = join(here, '..', 'src', 'piv', 'demo-keys.ts')
const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })

/** The GET DATA response for the RSA certificate in 9A has 913 bytes: 53 82 xx xx { 70 82 xx xx …, 71 01 00, FE 00 }. */
const certificateBytesOf9a = 913 - 4 - 4 - 3 - 2

const leaves = [
  {
    name: 'authenticationRsa',
    key: 'rsa2048',
    serial: '4ADA000000009A01',
    subject: '/O=Webtoki/CN=Ada Lovelace (demo)',
    usage: 'digitalSignature',
    purpose: 'clientAuth',
    bytes: certificateBytesOf9a,
  },
  {
    name: 'authenticationP256',
    key: 'p256',
    serial: '4ADA000000009A02',
    subject: '/O=Webtoki/CN=Ada Lovelace (demo)',
    usage: 'digitalSignature',
    purpose: 'clientAuth',
  },
  {
    name: 'signature',
    key: 'p256',
    serial: '4ADA000000009C01',
    subject: '/O=Webtoki/CN=Ada Lovelace (demo)',
    usage: 'digitalSignature,nonRepudiation',
    purpose: 'emailProtection',
  },
  {
    name: 'keyManagement',
    key: 'rsa2048',
    serial: '4ADA000000009D01',
    subject: '/O=Webtoki/CN=Ada Lovelace (demo)',
    usage: 'keyEncipherment',
    purpose: 'emailProtection',
  },
  {
    name: 'cardAuthentication',
    key: 'p384',
    serial: '4ADA000000009E01',
    subject: '/O=Webtoki/CN=Card of Ada Lovelace (demo)',
    usage: 'digitalSignature',
    purpose: '2.16.840.1.101.3.6.8',
  },
]

const keyPath = (name) => join(keys, `${name}.pem`)
const makeKey = (name, kind) => {
  if (existsSync(keyPath(name))) return
  const options =
    kind === 'rsa2048'
      ? ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048']
      : ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${kind === 'p256' ? 'P-256' : 'P-384'}`]
  openssl('genpkey', ...options, '-out', keyPath(name))
}

const work = mkdtempSync(join(tmpdir(), 'demo-pki-'))
const validity = ['-startdate', '20200101000000Z', '-enddate', '20491231235959Z']
const configuration = (serial, extensions) => {
  writeFileSync(join(work, 'index.txt'), '')
  writeFileSync(join(work, 'index.txt.attr'), 'unique_subject = no\n')
  writeFileSync(join(work, 'serial'), `${serial}\n`)
  writeFileSync(
    join(work, 'ca.cnf'),
    `[ca]\ndefault_ca=demo\n[demo]\ndatabase=${work}/index.txt\nserial=${work}/serial\nnew_certs_dir=${work}\n` +
      'default_md=sha256\npolicy=any\nemail_in_dn=no\n[any]\ncountryName=optional\norganizationName=optional\n' +
      `commonName=supplied\n[req]\ndistinguished_name=dn\n[dn]\n[extensions]\n${extensions.join('\n')}\n`,
  )
  return join(work, 'ca.cnf')
}
const request = (key, subject) => {
  const csr = join(work, 'request.pem')
  openssl('req', '-new', '-key', keyPath(key), '-subj', subject, '-out', csr, '-config', join(work, 'ca.cnf'))
  return csr
}
const sign = (config, csr, out, ...more) => {
  openssl(
    'ca',
    '-batch',
    '-notext',
    '-config',
    config,
    '-extensions',
    'extensions',
    '-in',
    csr,
    '-out',
    out,
    ...validity,
    ...more,
  )
  return openssl('x509', '-in', out, '-outform', 'DER')
}

const caCertificate = join(work, 'ca.pem')
makeKey('demo-ca', 'rsa2048')
const caConfig = configuration('4ADA00000000CA01', [
  'basicConstraints=critical,CA:TRUE,pathlen:0',
  'keyUsage=critical,keyCertSign,cRLSign',
  'subjectKeyIdentifier=hash',
])
const ca = sign(
  caConfig,
  request('demo-ca', '/O=Webtoki/CN=Webtoki demo CA'),
  caCertificate,
  '-selfsign',
  '-keyfile',
  keyPath('demo-ca'),
)

const makeLeaf = (leaf) => {
  const config = configuration(leaf.serial, [
    'basicConstraints=critical,CA:FALSE',
    `keyUsage=critical,${leaf.usage}`,
    `extendedKeyUsage=${leaf.purpose}`,
    'subjectKeyIdentifier=hash',
    'authorityKeyIdentifier=keyid',
    'subjectAltName=email:ada.lovelace@webtoki.demo.test',
  ])
  return sign(
    config,
    request(leaf.name, leaf.subject),
    join(work, 'leaf.pem'),
    '-cert',
    caCertificate,
    '-keyfile',
    keyPath('demo-ca'),
  )
}

const made = leaves.map((leaf) => {
  makeKey(leaf.name, leaf.key)
  const certificate = makeLeaf(leaf)
  // Subject, issuer and e-mail address are chosen so that the certificate has the required length.
  if (leaf.bytes !== undefined && certificate.length !== leaf.bytes) {
    throw new Error(
      `The certificate of ${leaf.name} has ${certificate.length} bytes instead of ${leaf.bytes}.`,
    )
  }
  const jwk = createPrivateKey(readFileSync(keyPath(leaf.name))).export({ format: 'jwk' })
  const hex = (value) => Buffer.from(value, 'base64url').toString('hex')
  const key =
    leaf.key === 'rsa2048'
      ? { algorithm: leaf.key, p: hex(jwk.p), q: hex(jwk.q) }
      : { algorithm: leaf.key, scalar: hex(jwk.d) }
  return { ...leaf, certificate, key }
})

const base64 = (bytes) => `'${bytes.toString('base64')}'`
const source = [
  '// Generated by scripts/make-demo-pki.mjs: keys and certificates of the virtual PIV cards (RFC 5280, SP 800-78-4).',
  '// These are published test keys. They protect nothing.',
  '',
  '/** The demo CA, DER in base64. */',
  `export const demoCaBase64: string =\n  ${base64(ca)}`,
  ...made.flatMap((leaf) => [
    '',
    `/** Key and certificate: ${leaf.subject.split('CN=')[1]}, ${leaf.key.algorithm}, ${leaf.usage}. */`,
    `export const ${leaf.name} = {`,
    ...Object.entries(leaf.key).map(([name, value]) => `  ${name}: '${value}',`),
    `  certificate:\n    ${base64(leaf.certificate)},`,
    '} as const',
  ]),
  '',
]
writeFileSync(target, source.join('\n'))
rmSync(work, { recursive: true })
for (const leaf of made) console.log(`${leaf.name}: ${leaf.certificate.length} bytes`)
