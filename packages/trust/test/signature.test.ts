import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { curves, type HashName, readPublicKey, type SignatureScheme } from '@webtoki/crypto'
import { type SignatureVerdict, SignatureVerifier } from '@webtoki/trust'
import { afterEach, describe, expect, it, vi } from 'vitest'

const message = new TextEncoder().encode('signed by OpenSSL')
const infoOf = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ format: 'der', type: 'spki' }))
const openSslCurves: Readonly<Record<string, string>> = {
  'P-256': 'prime256v1',
  'P-384': 'secp384r1',
  'P-521': 'secp521r1',
}
const onCurve = (name: string): { publicKey: KeyObject; privateKey: KeyObject } =>
  name === 'Ed25519'
    ? generateKeyPairSync('ed25519')
    : generateKeyPairSync('ec', { namedCurve: openSslCurves[name] ?? name })

/** Makes WebCrypto refuse every key, as on a platform that does not support it. */
function platformWithout(): void {
  vi.spyOn(crypto.subtle, 'importKey').mockRejectedValue(
    new DOMException('Unrecognized', 'NotSupportedError'),
  )
}
afterEach(() => void vi.restoreAllMocks())

async function verdicts(
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
  scheme: SignatureScheme,
  form: 'der' | 'raw',
): Promise<readonly SignatureVerdict[]> {
  const key = form === 'raw' ? { key: privateKey, dsaEncoding: 'ieee-p1363' as const } : privateKey
  const signature = sign(scheme.hash?.replace('-', '') ?? null, message, key)
  const verifier = new SignatureVerifier()
  return Promise.all([
    verifier.verify(infoOf(publicKey), scheme, signature, message, form),
    verifier.verify(infoOf(publicKey), scheme, signature, message.subarray(1), form),
  ])
}

describe('a signature made by OpenSSL', () => {
  describe.each(curves)('on $name', ({ name, isEdwards }) => {
    const schemes: readonly SignatureScheme[] = isEdwards
      ? [{ family: 'eddsa' }]
      : (['SHA-224', 'SHA-256', 'SHA-384', 'SHA-512'] as const satisfies HashName[]).map((hash) => ({
          family: 'ecdsa',
          hash,
        }))

    it.each(['der', 'raw'] as const)(
      'in the form %s is valid, and over another message invalid',
      async (form) => {
        for (const scheme of schemes)
          expect(await verdicts(onCurve(name), scheme, form)).toEqual(['valid', 'invalid'])
      },
    )

    it('is valid on a platform that lacks the curve', async () => {
      platformWithout()
      for (const scheme of schemes)
        expect(await verdicts(onCurve(name), scheme, 'der')).toEqual(['valid', 'invalid'])
    })
  })

  it('on an unsupported curve is unsupported, not invalid', async () => {
    for (const name of ['secp224r1', 'brainpoolP320r1'])
      expect(await verdicts(onCurve(name), { family: 'ecdsa', hash: 'SHA-256' }, 'der')).toEqual([
        'unsupported',
        'unsupported',
      ])
  })

  it('with RSA on a platform that refuses the key is unsupported, not invalid', async () => {
    platformWithout()
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await verdicts(pair, { family: 'pkcs1', hash: 'SHA-256' }, 'der')).toEqual([
      'unsupported',
      'unsupported',
    ])
  })

  it('with a weak key or a weak hash is weak, and over another message invalid', async () => {
    const short = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const expected = ['weak', 'invalid']
    expect(await verdicts(short, { family: 'pkcs1', hash: 'SHA-256' }, 'der')).toEqual(expected)
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(await verdicts(pair, { family: 'pkcs1', hash: 'SHA-1' }, 'der')).toEqual(expected)
    for (const name of ['P-256', 'brainpoolP256r1'])
      expect(await verdicts(onCurve(name), { family: 'ecdsa', hash: 'SHA-1' }, 'der')).toEqual(expected)
  })

  it('with a key of another type than the algorithm requires is invalid', async () => {
    expect(await verdicts(onCurve('P-256'), { family: 'pkcs1', hash: 'SHA-256' }, 'der')).toEqual([
      'invalid',
      'invalid',
    ])
    expect(
      await verdicts(
        generateKeyPairSync('rsa', { modulusLength: 2048 }),
        { family: 'ecdsa', hash: 'SHA-256' },
        'der',
      ),
    ).toEqual(['invalid', 'invalid'])
  })

  it('with a key whose point is not on its curve is invalid', async () => {
    for (const name of ['P-256', 'brainpoolP256r1']) {
      const { publicKey, privateKey } = onCurve(name)
      const info = infoOf(publicKey)
      info[info.length - 1] = (info.at(-1) ?? 0) ^ 1
      expect(readPublicKey(info).kind).toBe('ec')
      const signature = sign('sha256', message, privateKey)
      const scheme: SignatureScheme = { family: 'ecdsa', hash: 'SHA-256' }
      expect(await new SignatureVerifier().verify(info, scheme, signature, message)).toBe('invalid')
    }
  })
})
