/** Claiming and reading each kind of byte source. */
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

/** Sources that can be read only once. */
const once: Readonly<Record<string, () => object>> = {
  'a web stream': () => new Blob([message]).stream(),
  'a Node stream': () => Readable.from(halves),
  'an async generator': () => generate(),
  'a generator': () => generateNow(),
}
/** Sources that can be read repeatedly. */
const repeatable: Readonly<Record<string, () => object>> = {
  bytes: () => message,
  'an ArrayBuffer': () => message.slice().buffer,
  'a list of chunks': () => halves,
  'an async iterable': () => ({ [Symbol.asyncIterator]: () => generate() }),
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

describe('stepsOf yields all bytes in steps and reports the progress of', () => {
  it.each(Object.entries({ ...once, ...repeatable }))('%s', async (_, make) => {
    let bytes = 0
    expect(await read(claimSource(make(), refusal)(), (now) => (bytes = now))).toEqual(message)
    expect(bytes).toBe(message.length)
  })

  it('a Blob, which is not claimed', async () => {
    const blob = new Blob([message])
    for (let times = 0; times < 2; times++) expect(await read(blobChunks(blob))).toEqual(message)
  })
})

describe('a second reading', () => {
  it.each(Object.entries(once))('of %s is refused when it is claimed', (_, make) => {
    const source = make()
    claimSource(source, refusal)
    expect(() => claimSource(source, refusal)).toThrow(new Refused('used'))
  })

  it.each(Object.entries(repeatable))('of %s yields the same bytes', async (_, make) => {
    const source = make()
    for (let times = 0; times < 2; times++)
      expect(await read(claimSource(source, refusal)())).toEqual(message)
  })
})

it.each([undefined, null, 'text', 5, {}])('claimSource refuses %j with no-source', (data) => {
  expect(() => claimSource(data, refusal)).toThrow(new Refused('no-source'))
})

it('stepsOf rejects with no-bytes if a chunk holds no bytes', async () => {
  await expect(read(claimSource(generate(['text']), refusal)())).rejects.toEqual(new Refused('no-bytes'))
})

describe('an abort rejects a pending read at once, with the reason of the signal, for', () => {
  const silent: Readonly<Record<string, () => object>> = {
    'a stream': () => new ReadableStream(),
    'an iterator': () => ({
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    }),
    'an Observable': () => new Subject<Uint8Array>(),
  }
  it.each(Object.entries(silent))('%s that yields nothing', async (_, make) => {
    const leaving = new AbortController()
    const chunks = claimSource(make(), refusal)()
    const reading = stepsOf(chunks, { refusal, signal: leaving.signal }).next()
    leaving.abort('enough')
    await expect(reading).rejects.toBe('enough')
    chunks.stop()
  })
})
