/** Runs OpenSSL to create and to verify signatures. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** OpenSSL with a temporary folder for its files. */
export class OpenSsl {
  readonly #folder = mkdtempSync(join(tmpdir(), 'webtoki-documents-'))

  path(name: string): string {
    return join(this.#folder, name)
  }

  write(name: string, content: string | Uint8Array): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  read(name: string): Uint8Array {
    return new Uint8Array(readFileSync(this.path(name)))
  }

  run(...args: readonly string[]): string {
    return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** Creates a self-signed certificate for signing: NAME.key, NAME.pem and NAME.der. */
  person(
    name: string,
    key: readonly string[] = ['-newkey', 'rsa:2048'],
    subject = `/CN=${name}`,
  ): Uint8Array {
    const usage = [
      '-addext',
      'keyUsage=digitalSignature,nonRepudiation',
      '-addext',
      'basicConstraints=CA:FALSE',
    ]
    const config = this.write('cnf', '[req]\ndistinguished_name=dn\n[dn]\n')
    const [keyFile, pem, der] = ['key', 'pem', 'der'].map((end) => this.path(`${name}.${end}`))
    const files = ['-nodes', '-keyout', keyFile as string, '-out', pem as string]
    this.run(
      'req',
      '-new',
      '-x509',
      ...key,
      ...files,
      '-subj',
      subject,
      '-days',
      '3650',
      ...usage,
      '-config',
      config,
    )
    this.run('x509', '-in', pem as string, '-outform', 'DER', '-out', der as string)
    return this.read(`${name}.der`)
  }

  /** Creates a detached signature with the certificate NAME. */
  sign(name: string, document: Uint8Array, ...more: readonly string[]): Uint8Array {
    const form = more.includes('-outform') ? [] : ['-outform', 'DER']
    this.run(
      ...[
        'cms',
        '-sign',
        '-binary',
        '-in',
        this.write('document', document),
        '-out',
        this.path('made'),
        ...form,
      ],
      ...['-signer', this.path(`${name}.pem`), '-inkey', this.path(`${name}.key`), ...more],
    )
    return this.read('made')
  }

  /** Whether OpenSSL accepts the signature, without checking the certificate. */
  accepts(signature: Uint8Array, document: Uint8Array): boolean {
    return this.#verifies(signature, document, '-noverify')
  }

  /** Whether OpenSSL accepts the signature as CAdES with a certificate below this root (DER). */
  acceptsCades(signature: Uint8Array, document: Uint8Array, root: Uint8Array): boolean {
    const base64 = Buffer.from(root)
      .toString('base64')
      .replaceAll(/.{64}(?!$)/g, '$&\n')
    const anchor = this.write(
      'root.pem',
      `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    )
    return this.#verifies(signature, document, '-cades', '-CAfile', anchor, '-purpose', 'any')
  }

  #verifies(signature: Uint8Array, document: Uint8Array, ...more: readonly string[]): boolean {
    const files = ['-in', this.write('signature', signature), '-content', this.write('document', document)]
    try {
      this.run('cms', '-verify', '-binary', '-inform', 'DER', ...files, '-out', this.path('out'), ...more)
      return true
    } catch {
      return false
    }
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
