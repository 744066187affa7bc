/** What a document may be read from, and when its bytes count: once, and those at the call. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { digestDocument, notChecked, signDetached, trustedBy, verifyDetached } from '@webtoki/documents'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { issue, softwareSigner } from '../../trust/test/pki.ts'

type DocumentData = Parameters<typeof signDetached>[1]

const letter = new TextEncoder().encode('Dear reader,\n')
const sha = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest())
const alreadyRead = expect.objectContaining({ name: 'DocumentError', reason: 'already-read' })

async function countingSigner() {
  const issued = await issue({ name: 'Ada' })
  const signer = softwareSigner(issued, 'ES256')
  return { issued, signer, sign: vi.spyOn(signer, 'sign') }
}

async function* generate(): AsyncGenerator<Uint8Array> {
  yield letter
}
const streamed = (): ReadableStream<Uint8Array> => new Blob([letter]).stream()

const spent: readonly (readonly [string, () => DocumentData | Promise<DocumentData>])[] = [
  [
    'a stream that was read to its end and let go',
    async () => {
      const stream = streamed()
      const reader = stream.getReader()
      while (!(await reader.read()).done);
      reader.releaseLock()
      return stream
    },
  ],
  [
    'a stream of which a part was read',
    async () => {
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => {
          controller.enqueue(letter)
          controller.enqueue(letter)
          controller.close()
        },
      })
      const reader = stream.getReader()
      await reader.read()
      reader.releaseLock()
      return stream
    },
  ],
  [
    'a stream that somebody else reads',
    () => {
      const stream = streamed()
      stream.getReader()
      return stream
    },
  ],
  [
    'a stream of another make that gives nothing any more',
    () => ({ getReader: () => ({ read: async () => ({ done: true }), cancel: async () => {} }) }),
  ],
  [
    'a stream of Node that was read to its end',
    async () => {
      const stream = Readable.from([letter])
      for await (const _ of stream);
      return stream
    },
  ],
  [
    'a stream of Node of which a part was read',
    async () => {
      const stream = Readable.from([letter, letter])
      await once(stream, 'readable')
      stream.read()
      return stream
    },
  ],
  [
    'a generator that has ended',
    async () => {
      const pieces = generate()
      for await (const _ of pieces);
      return pieces
    },
  ],
]

const single: readonly (readonly [string, () => DocumentData])[] = [
  ['a stream', streamed],
  ['a stream of Node', () => Readable.from([letter])],
  ['a generator', generate],
  [
    'an iterable that gives the same generator each time',
    () => {
      const pieces = generate()
      return { [Symbol.asyncIterator]: () => pieces }
    },
  ],
]

describe('a document that was read before', () => {
  it.each(spent)('from %s is not signed, and the key is not used', async (_what, make) => {
    const { signer, sign } = await countingSigner()
    await expect(signDetached(signer, await make())).rejects.toEqual(alreadyRead)
    expect(sign).not.toHaveBeenCalled()
  })

  it.each(spent)('from %s is not verified, nor digested', async (_what, make) => {
    const { signer } = await countingSigner()
    const signature = await signDetached(signer, new Uint8Array(0))
    await expect(verifyDetached(signature, await make(), { trust: notChecked })).rejects.toEqual(alreadyRead)
    await expect(digestDocument(['SHA-256'], await make())).rejects.toEqual(alreadyRead)
  })

  it.each(single)('by us, from %s, is refused the second time', async (_what, make) => {
    const { signer, sign } = await countingSigner()
    const data = make()
    await signDetached(signer, data)
    await expect(signDetached(signer, data)).rejects.toEqual(alreadyRead)
    expect(sign).toHaveBeenCalledOnce()
  })

  it.each(single)('by two at once, from %s, is refused to the second', async (_what, make) => {
    const data = make()
    const first = digestDocument(['SHA-256'], data)
    await expect(digestDocument(['SHA-256'], data)).rejects.toEqual(alreadyRead)
    expect(await first).toEqual({ 'SHA-256': sha(letter) })
  })

  it('is not handed to who digests elsewhere, and what was handed there is refused afterwards', async () => {
    const { signer, sign } = await countingSigner()
    const digest = vi.fn<() => Promise<Uint8Array>>(async () => sha(letter))
    const locked = streamed()
    locked.getReader()
    await expect(signDetached(signer, locked, { digest })).rejects.toEqual(alreadyRead)
    expect(digest).not.toHaveBeenCalled()
    const data = streamed()
    await signDetached(signer, data, { digest })
    await expect(signDetached(signer, data, { digest })).rejects.toEqual(alreadyRead)
    expect([digest.mock.calls.length, sign.mock.calls.length]).toEqual([1, 1])
  })
})

it('a stream may be digested elsewhere by our own `digestDocument`', async () => {
  const { signer, issued } = await countingSigner()
  const signature = await signDetached(signer, streamed(), {
    digest: async (name, data, options) => (await digestDocument([name], data, options))[name],
  })
  const { signers } = await verifyDetached(signature, letter, { trust: trustedBy([issued.der]) })
  expect(signers[0]).toMatchObject({ digestMatches: true, signatureValid: true })
})

it.each([
  ['an array', () => letter],
  ['a Blob', () => new Blob([letter])],
  ['an iterable that begins anew', () => ({ [Symbol.asyncIterator]: generate })],
])('%s can be read as often as one likes', async (_what, make) => {
  const data = make()
  for (let time = 0; time < 2; time++) {
    expect(await digestDocument(['SHA-256'], data)).toEqual({ 'SHA-256': sha(letter) })
  }
})

it.each([
  ['an array', () => new Uint8Array(0)],
  ['a Blob', () => new Blob([])],
  ['a fresh stream', () => new Blob([]).stream()],
])('an empty document can be told by %s', async (_what, make) => {
  expect(await digestDocument(['SHA-256'], make())).toEqual({ 'SHA-256': sha(new Uint8Array(0)) })
})

it('a platform without `Response` still refuses streams that are locked or were read here', async () => {
  vi.stubGlobal('Response', undefined)
  onTestFinished(() => void vi.unstubAllGlobals())
  const data = streamed()
  const locked = streamed()
  locked.getReader()
  await digestDocument(['SHA-256'], data)
  for (const each of [data, locked])
    await expect(digestDocument(['SHA-256'], each)).rejects.toEqual(alreadyRead)
})

describe('the bytes at the call are those that count:', () => {
  const buffers: readonly (readonly [string, () => Uint8Array])[] = [
    ['an array', () => Uint8Array.from(letter)],
    ['a Node Buffer', () => Buffer.from(Buffer.from(letter).toString('base64'), 'base64')],
  ]

  it.each(buffers)('%s to sign, and the signing time', async (_what, make) => {
    const { signer, issued } = await countingSigner()
    const data = make()
    const signingTime = new Date('2026-11-24T12:00:00Z')
    const work = signDetached(signer, data, { signingTime })
    data.fill(0)
    signingTime.setUTCFullYear(2031)
    const { signers } = await verifyDetached(await work, letter, { trust: trustedBy([issued.der]) })
    expect(signers[0]).toMatchObject({
      digestMatches: true,
      signingTime: new Date('2026-11-24T12:00:00Z'),
    })
  })

  it.each(buffers)('%s to sign that is digested elsewhere', async (_what, make) => {
    const { signer } = await countingSigner()
    const data = make()
    let seen: unknown
    await signDetached(signer, data, {
      digest: async (_name, given) => {
        data.fill(0)
        seen = given
        return sha(letter)
      },
    })
    expect(seen).toEqual(letter)
  })

  it.each(buffers)('%s to verify, the signature, and the moment that counts', async (_what, make) => {
    const { signer, issued } = await countingSigner()
    const signature = Uint8Array.from(await signDetached(signer, letter))
    const data = make()
    const at = new Date('2026-11-24T12:00:00Z')
    const heard: string[] = []
    const trust = async (_certificate: Uint8Array, _others: readonly Uint8Array[], moment: Date) => {
      heard.push(moment.toISOString())
      return trustedBy([issued.der])(_certificate, _others, moment)
    }
    const work = verifyDetached(signature, data, { trust, at })
    data.fill(0)
    signature.fill(0)
    at.setUTCFullYear(2031)
    expect(await work).toMatchObject({ signers: [{ digestMatches: true, signatureValid: true }] })
    expect(heard).toEqual(['2026-11-24T12:00:00.000Z'])
  })

  it('anchors that are trusted', async () => {
    const { signer, issued } = await countingSigner()
    const signature = await signDetached(signer, letter)
    const other = await issue({ name: 'Other', isCa: true })
    const list: Uint8Array[] = [other.der]
    const trust = trustedBy(list)
    list.push(issued.der)
    expect(await verifyDetached(signature, letter, { trust })).toMatchObject({ valid: false })
    const own = Uint8Array.from(issued.der)
    const trusting = trustedBy([own])
    own.fill(0)
    expect(await verifyDetached(signature, letter, { trust: trusting })).toMatchObject({ valid: true })
  })
})
