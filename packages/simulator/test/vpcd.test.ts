/** Tests of the connection to vpcd: message framing, order of messages, and every way in which the connection ends. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { VirtualCard } from '../src/index.ts'
import { connectVpcd, type VpcdConnection } from '../src/node/index.ts'
import { encodeVpcdFrame, VpcdFrameReader } from '../src/node/vpcd.ts'

/** Splits a stream after each of these offsets. */
function cut(stream: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (stream.length + 1)), stream.length].sort((a, b) => a - b)
  return ends.map((end, at) => stream.subarray(ends[at - 1] ?? 0, end))
}

const payloads = fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 8 })
const places = fc.array(fc.nat(), { maxLength: 12 })

describe('messages of vpcd', () => {
  test('are complete and in order regardless of how the stream is split into chunks', () => {
    fc.assert(
      fc.property(payloads, places, (sent, where) => {
        const reader = new VpcdFrameReader()
        const stream = Buffer.concat(sent.map(encodeVpcdFrame))
        const got = cut(stream, where).flatMap((chunk) => reader.push(chunk))
        expect(got).toEqual(sent)
      }),
    )
  })

  test('have a big-endian length of at most 65535', () => {
    expect(Buffer.from(encodeVpcdFrame(new Uint8Array(0x102))).subarray(0, 2)).toEqual(Buffer.of(1, 2))
    expect(encodeVpcdFrame(new Uint8Array(65535))).toHaveLength(65537)
    expect(() => encodeVpcdFrame(new Uint8Array(65536))).toThrow(RangeError)
  })
})

/** A slow echo card that records all calls. */
class RecordingCard implements VirtualCard {
  readonly atr: Uint8Array = Uint8Array.of(0x3b, 0x00)
  readonly lines: string[] = []
  failing = false
  returnsLongResponse = false
  reset(kind: 'cold' | 'warm'): void {
    this.lines.push(kind)
  }
  powerOff(): void {
    this.lines.push('off')
  }
  async process(command: Uint8Array): Promise<Uint8Array> {
    // The first command takes longest, so commands that run in parallel would finish in the wrong order.
    await new Promise((resolve) => setTimeout(resolve, this.lines.length === 0 ? 10 : 0))
    if (this.failing) throw new Error('the card broke')
    this.lines.push(Buffer.from(command).toString('hex'))
    return this.returnsLongResponse ? new Uint8Array(65538) : Uint8Array.of(...command, 0x90, 0x00)
  }
}

describe('a card connected to vpcd', () => {
  let server: Server
  let port: number
  let card: RecordingCard
  let connection: VpcdConnection
  let socket: Socket
  let received: Uint8Array[]
  let frameReceived: () => void = () => {}

  beforeEach(async () => {
    server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    port = (server.address() as AddressInfo).port
    await plug()
  })

  afterEach(async () => {
    await connection.close()
    await new Promise((resolve) => server.close(resolve))
  })

  async function plug(): Promise<void> {
    card = new RecordingCard()
    received = []
    const connected = once(server, 'connection')
    connection = await connectVpcd(card, { port })
    socket = (await connected)[0] as Socket
    const reader = new VpcdFrameReader()
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received.push(...reader.push(chunk))
      frameReceived()
    })
  }

  async function responses(count: number): Promise<string[]> {
    while (received.length < count) {
      await new Promise<void>((resolve) => {
        frameReceived = resolve
      })
    }
    return received.map((response) => Buffer.from(response).toString('hex'))
  }

  test('processes ATR requests, power commands and APDUs in the order in which they arrive', async () => {
    const sent = [[4], [0, 1, 0, 0], [2], [0, 2, 0, 0, 5], [0], [1], [0, 3, 0, 0], [4]]
    socket.write(Buffer.concat(sent.map((payload) => encodeVpcdFrame(Uint8Array.from(payload)))))
    expect(await responses(5)).toEqual(['3b00', '000100009000', '00020000059000', '000300009000', '3b00'])
    expect(card.lines).toEqual(['00010000', 'warm', '0002000005', 'off', 'cold', '00030000'])
  })

  test('responds to all APDUs regardless of how the stream is split into chunks', async () => {
    const apdus = fc.array(fc.uint8Array({ minLength: 4, maxLength: 300 }), { minLength: 1, maxLength: 5 })
    await fc.assert(
      fc.asyncProperty(apdus, places, async (sent, where) => {
        received = []
        for (const chunk of cut(Buffer.concat(sent.map(encodeVpcdFrame)), where)) {
          socket.write(chunk)
          await new Promise((resolve) => setImmediate(resolve))
        }
        expect(await responses(sent.length)).toEqual(
          sent.map((apdu) => `${Buffer.from(apdu).toString('hex')}9000`),
        )
      }),
      { numRuns: 30 },
    )
  })

  test('returns 6F00 if the response is longer than a message can be', async () => {
    card.returnsLongResponse = true
    socket.write(encodeVpcdFrame(Uint8Array.of(0, 1, 0, 0)))
    expect(await responses(1)).toEqual(['6f00'])
  })

  test('is powered off and disconnected from vpcd by close', async () => {
    const ended = once(socket, 'end')
    await connection.close()
    await ended
    expect(await connection.ended).toBeUndefined()
    expect(card.lines).toEqual(['off'])
  })

  test('is powered off when pcscd ends the connection', async () => {
    socket.end()
    expect(await connection.ended).toBeUndefined()
    expect(card.lines).toEqual(['off'])
  })

  test.each([
    ['an empty message', []],
    ['an unknown power command', [3]],
    ['a message shorter than an APDU header', [0, 1, 0]],
  ])('ends the connection with an error after %s', async (_, payload) => {
    socket.write(encodeVpcdFrame(Uint8Array.from(payload)))
    expect((await connection.ended)?.message).toBe(`vpcd sent an unknown message of ${payload.length} bytes.`)
  })

  test('ends the connection with the error that the card throws', async () => {
    card.failing = true
    socket.write(encodeVpcdFrame(Uint8Array.of(0, 1, 0, 0)))
    expect((await connection.ended)?.message).toBe('the card broke')
  })

  test('cannot be connected if vpcd does not listen', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const unused = (other.address() as AddressInfo).port
    await new Promise((resolve) => other.close(resolve))
    await expect(connectVpcd(card, { port: unused })).rejects.toThrow('ECONNREFUSED')
  })
})
