/** The signature over the statement, by the platform's WebCrypto. */
import { copyOf } from '@webtoki/apdu/bytes'
import { hashNames, type LoginAlgorithm } from '../statement.ts'

interface Subtle {
  importKey(
    format: 'spki',
    key: Uint8Array<ArrayBuffer>,
    algorithm: object,
    extractable: boolean,
    uses: readonly string[],
  ): Promise<object>
  verify(
    algorithm: object,
    key: object,
    signature: Uint8Array<ArrayBuffer>,
    data: Uint8Array<ArrayBuffer>,
  ): Promise<boolean>
}

const curves: Readonly<Record<string, string>> = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }

/** False where the signature does not fit, and where the key is of another kind than the algorithm. */
export async function isSigned(
  algorithm: LoginAlgorithm,
  publicKeyInfo: Uint8Array,
  statement: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const { subtle } = (globalThis as unknown as { crypto: { subtle: Subtle } }).crypto
  const hash = hashNames[algorithm]
  const [imported, verified] = algorithm.startsWith('ES')
    ? [
        { name: 'ECDSA', namedCurve: curves[algorithm] },
        { name: 'ECDSA', hash },
      ]
    : algorithm.startsWith('PS')
      ? [
          { name: 'RSA-PSS', hash },
          { name: 'RSA-PSS', saltLength: Number(hash.slice(4)) / 8 },
        ]
      : [{ name: 'RSASSA-PKCS1-v1_5', hash }, { name: 'RSASSA-PKCS1-v1_5' }]
  try {
    const key = await subtle.importKey('spki', copyOf(publicKeyInfo), imported, false, ['verify'])
    return await subtle.verify(verified, key, copyOf(signature), copyOf(statement))
  } catch {
    return false
  }
}
