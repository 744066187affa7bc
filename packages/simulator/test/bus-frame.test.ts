/** Tests of the frames between the virtual USB bus and the preload library. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FrameReader, maxFrameBytes } from '../src/node/bus-frame.ts'

const frames = fc.array(
  fc.record({
    type: fc.constantFrom('S', 'D', 'R', 'C', 'E'),
    id: fc.integer({ min: 0, max: 0xffff_ffff }),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  { maxLength: 8 },
)

describe('a stream between the bus and a program', () => {
  it('yields the same frames regardless of how it is split into chunks', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, cuts) => {
        const stream = Buffer.concat(sent.map(({ type, id, payload }) => encodeFrame(type, id, payload)))
        const reader = new FrameReader()
        const got = []
        for (let at = 0, cut = 0; at < stream.length; cut++) {
          const length = cuts[cut % cuts.length] as number
          got.push(...reader.push(Uint8Array.from(stream.subarray(at, at + length))))
          at += length
        }
        expect(got.map(({ type, id, payload }) => ({ type, id, payload: [...payload] }))).toEqual(
          sent.map(({ type, id, payload }) => ({ type, id, payload: [...payload] })),
        )
      }),
    )
  })

  it.each([0, 4, maxFrameBytes + 6, 0xffff_ffff])(
    'throws RangeError for a frame that declares %d bytes',
    (length) => {
      const head = new Uint8Array(4)
      new DataView(head.buffer).setUint32(0, length, true)
      expect(() => new FrameReader().push(head)).toThrow(RangeError)
    },
  )
})
