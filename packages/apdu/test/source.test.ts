/** The one reader of sources, over each kind that there is. */
import { Readable } from 'node:stream'
import { blobChunks, type Chunks, claimSource, type SourceFault, stepsOf } from '@webtoki/apdu/source'
import { from, Subject } from 'rxjs'
import { describe, expect, it } from 'vitest'

class Refused extends Error {
  constructor(fault: SourceFault) {
    super(fault)
  }
}
const refusal = (fault: SourceFault): Error => new Refused(fault)

const message = Uint8Array.from({ length: 20_000 }, (_, at) => at % 251)
const halves = [message.subarray(0, 8_000), message.subarray(8_000)]
async function* generate(chunks: readonly unknown[] = halves): AsyncGenerator<unknown> {
  yield* chunks
}
function* generateNow(): Generator<Uint8Array> {
  yield* halves
}

/** What is there once: read a second time, it is refused. */
const once: Readonly<Record<string, () => object>> = {
  'a stream of the Web': () => new Blob([message]).stream(),
  'a stream of Node': () => Readable.from(halves),
  'an asynchronous generator': () => generate(),
  'a generator': () => generateNow(),
}
const again: Readonly<Record<string, () => object>> = {
  bytes: () => message,
  'an ArrayBuffer': () => message.slice().buffer,
  'a list of chunks': () => halves,
  'an asynchronous iterable': () => ({ [Symbol.asyncIterator]: () => generate() }),
  'an Observable': () => from(halves),
}

async function read(chunks: Chunks, onProgress?: (bytes: number) => void): Promise<Uint8Array> {
  const steps: Uint8Array[] = []
  for await (const step of stepsOf(chunks, { refusal, stepBytes: 0x1000, onProgress })) {
    expect(step.length).toBeLessThanOrEqual(0x1000)
    steps.push(step.slice())
  }
  return new Uint8Array(Buffer.concat(steps))
}

describe('a source is read in steps, and tells how many bytes have come:', () => {
  it.each(Object.entries({ ...once, ...again }))('%s', async (_, make) => {
    let bytes = 0
    expect(await read(claimSource(make(), refusal)(), (now) => (bytes = now))).toEqual(message)
    expect(bytes).toBe(message.length)
  })

  it('a Blob, of which nothing is claimed', async () => {
    const blob = new Blob([message])
    for (let times = 0; times < 2; times++) expect(await read(blobChunks(blob))).toEqual(message)
  })
})

describe('a second reading', () => {
  it.each(Object.entries(once))('of %s is refused before it begins', (_, make) => {
    const source = make()
    claimSource(source, refusal)
    expect(() => claimSource(source, refusal)).toThrow(new Refused('used'))
  })

  it.each(Object.entries(again))('of %s gives the same bytes', async (_, make) => {
    const source = make()
    for (let times = 0; times < 2; times++)
      expect(await read(claimSource(source, refusal)())).toEqual(message)
  })
})

it.each([undefined, null, 'text', 5, {}])('%j is no source', (data) => {
  expect(() => claimSource(data, refusal)).toThrow(new Refused('no-source'))
})

it('a chunk that is no bytes ends the reading', async () => {
  await expect(read(claimSource(generate(['text']), refusal)())).rejects.toEqual(new Refused('no-bytes'))
})

describe('an abort ends at once the wait for', () => {
  const silent: Readonly<Record<string, () => object>> = {
    'a stream': () => new ReadableStream(),
    'an iterator': () => ({
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    }),
    'an Observable': () => new Subject<Uint8Array>(),
  }
  it.each(Object.entries(silent))('%s that gives nothing', async (_, make) => {
    const leaving = new AbortController()
    const chunks = claimSource(make(), refusal)()
    const reading = stepsOf(chunks, { refusal, signal: leaving.signal }).next()
    leaving.abort('enough')
    await expect(reading).rejects.toBe('enough')
    chunks.stop()
  })
})
