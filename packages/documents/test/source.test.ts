/** Sources of documents: which can be read once or several times, and which are copied at the call. */
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

const readSources: readonly (readonly [string, () => DocumentData | Promise<DocumentData>])[] = [
  [
    'a stream that was read to its end and released',
    async () => {
      const stream = streamed()
      const reader = stream.getReader()
      while (!(await reader.read()).done);
      reader.releaseLock()
      return stream
    },
  ],
  [
    'a stream that was partly read',
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
    'a locked stream',
    () => {
      const stream = streamed()
      stream.getReader()
      return stream
    },
  ],
  [
    'a stream of another implementation that is at its end',
    () => ({ getReader: () => ({ read: async () => ({ done: true }), cancel: async () => {} }) }),
  ],
  [
    'a Node stream that was read to its end',
    async () => {
      const stream = Readable.from([letter])
      for await (const _ of stream);
      return stream
    },
  ],
  [
    'a Node stream that was partly read',
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

const oneTimeSources: readonly (readonly [string, () => DocumentData])[] = [
  ['a stream', streamed],
  ['a Node stream', () => Readable.from([letter])],
  ['a generator', generate],
  [
    'an iterable that returns the same generator each time',
    () => {
      const pieces = generate()
      return { [Symbol.asyncIterator]: () => pieces }
    },
  ],
]

describe('a document that can be read once', () => {
  it.each(readSources)('and comes from %s is refused before the key is used', async (_what, make) => {
    const { signer, sign } = await countingSigner()
    await expect(signDetached(signer, await make())).rejects.toEqual(alreadyRead)
    expect(sign).not.toHaveBeenCalled()
  })

  it.each(readSources)('and comes from %s is not verified or digested', async (_what, make) => {
    const { signer } = await countingSigner()
    const signature = await signDetached(signer, new Uint8Array(0))
    await expect(verifyDetached(signature, await make(), { trust: notChecked })).rejects.toEqual(alreadyRead)
    await expect(digestDocument(['SHA-256'], await make())).rejects.toEqual(alreadyRead)
  })

  it.each(oneTimeSources)('and was signed from %s is refused the second time', async (_what, make) => {
    const { signer, sign } = await countingSigner()
    const data = make()
    await signDetached(signer, data)
    await expect(signDetached(signer, data)).rejects.toEqual(alreadyRead)
    expect(sign).toHaveBeenCalledOnce()
  })

  it.each(oneTimeSources)(
    'and is read concurrently from %s is refused to the second caller',
    async (_what, make) => {
      const data = make()
      const first = digestDocument(['SHA-256'], data)
      await expect(digestDocument(['SHA-256'], data)).rejects.toEqual(alreadyRead)
      expect(await first).toEqual({ 'SHA-256': sha(letter) })
    },
  )

  it('is not passed to `digest` if it was read, and counts as read after `digest`', async () => {
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

it('`digestDocument` may be used in the option `digest` for a stream', async () => {
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
  ['an iterable that starts again', () => ({ [Symbol.asyncIterator]: generate })],
])('%s can be read several times', async (_what, make) => {
  const data = make()
  for (let time = 0; time < 2; time++) {
    expect(await digestDocument(['SHA-256'], data)).toEqual({ 'SHA-256': sha(letter) })
  }
})

it.each([
  ['an array', () => new Uint8Array(0)],
  ['a Blob', () => new Blob([])],
  ['an unread stream', () => new Blob([]).stream()],
])('an empty document from %s is accepted', async (_what, make) => {
  expect(await digestDocument(['SHA-256'], make())).toEqual({ 'SHA-256': sha(new Uint8Array(0)) })
})

it('without `Response`, streams that are locked or were read by Webtoki are still refused', async () => {
  vi.stubGlobal('Response', undefined)
  onTestFinished(() => void vi.unstubAllGlobals())
  const data = streamed()
  const locked = streamed()
  locked.getReader()
  await digestDocument(['SHA-256'], data)
  for (const each of [data, locked])
    await expect(digestDocument(['SHA-256'], each)).rejects.toEqual(alreadyRead)
})

describe('later changes by the caller have no effect on', () => {
  const buffers: readonly (readonly [string, () => Uint8Array])[] = [
    ['an array', () => Uint8Array.from(letter)],
    ['a Node Buffer', () => Buffer.from(Buffer.from(letter).toString('base64'), 'base64')],
  ]

  it.each(buffers)('%s that is signed, and the signing time', async (_what, make) => {
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

  it.each(buffers)('%s that is signed with the option `digest`', async (_what, make) => {
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

  it.each(buffers)('%s that is verified, the signature, and the option `at`', async (_what, make) => {
    const { signer, issued } = await countingSigner()
    const signature = Uint8Array.from(await signDetached(signer, letter))
    const data = make()
    const at = new Date('2026-11-24T12:00:00Z')
    const times: string[] = []
    const trust = async (_certificate: Uint8Array, _others: readonly Uint8Array[], moment: Date) => {
      times.push(moment.toISOString())
      return trustedBy([issued.der])(_certificate, _others, moment)
    }
    const work = verifyDetached(signature, data, { trust, at })
    data.fill(0)
    signature.fill(0)
    at.setUTCFullYear(2031)
    expect(await work).toMatchObject({ signers: [{ digestMatches: true, signatureValid: true }] })
    expect(times).toEqual(['2026-11-24T12:00:00.000Z'])
  })

  it('the anchors of `trustedBy`', async () => {
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
