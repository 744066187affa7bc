/**
 * Connects a virtual card to vsmartcard's vpcd, a driver of pcscd for cards over TCP. A message is a big-endian 16-bit
 * length and a payload (vsmartcard, src/vpcd/vpcd.h).
 */
import { dataViewOf } from '../bytes.ts'
import { connect, type Socket } from 'node:net'
import type { VirtualCard } from '../card.ts'

/** Payloads of one byte, which control the card's power or request its ATR. All other payloads are command APDUs. */
export const VpcdControl = {
  powerOff: 0x00,
  powerOn: 0x01,
  reset: 0x02,
  getAtr: 0x04,
} as const

/** The address of vpcd. */
export interface VpcdOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string
  /** Default 35963 (8C7B), as in the Debian package's reader.conf. The second slot of vpcd uses the next port. */
  readonly port?: number
}

/** The port in the Debian package's reader.conf. */
export const defaultVpcdPort: number = 0x8c7b

/**
 * Inserts the card into vpcd's reader. It stays there until `close` is called or pcscd ends. Rejects if vpcd does not
 * listen.
 *
 * ```ts
 * const connection = await connectVpcd(createPivCard())
 * // opensc-tool --name
 * await connection.close()
 * ```
 */
export async function connectVpcd(card: VirtualCard, options: VpcdOptions = {}): Promise<VpcdConnection> {
  const { host = '127.0.0.1', port = defaultVpcdPort } = options
  const socket = connect({ host, port, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve()
    })
  })
  return new SocketConnection(card, socket)
}

/** The connection of a card to vpcd. */
export interface VpcdConnection {
  /**
   * Resolves when the card has left the reader: to undefined after `close` or the end of pcscd, otherwise to the error.
   */
  readonly ended: Promise<Error | undefined>
  /** Removes the card from the reader. */
  close(): Promise<void>
}

/** Not exported, so that users of this package do not need Node's types, which its constructor has. */
class SocketConnection implements VpcdConnection {
  readonly ended: Promise<Error | undefined>
  readonly #card: VirtualCard
  readonly #socket: Socket
  readonly #reader = new VpcdFrameReader()
  #previousMessage: Promise<void> = Promise.resolve()
  #failure: Error | undefined

  constructor(card: VirtualCard, socket: Socket) {
    this.#card = card
    this.#socket = socket
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        card.powerOff()
        resolve(this.#failure)
      })
    })
    socket.on('error', (error) => this.#fail(error))
    socket.on('data', (chunk) => {
      for (const payload of this.#reader.push(chunk)) {
        // Messages are processed in order: a reset after an APDU must not overtake it.
        this.#previousMessage = this.#previousMessage
          .then(() => this.#process(payload))
          .catch((cause: unknown) => this.#fail(cause instanceof Error ? cause : new Error(String(cause))))
      }
    })
  }

  async close(): Promise<void> {
    this.#socket.end(() => this.#socket.destroy())
    await this.ended
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#socket.destroy()
  }

  async #process(payload: Uint8Array): Promise<void> {
    if (this.#socket.destroyed) return
    switch (payload.length === 1 ? payload[0] : undefined) {
      case VpcdControl.powerOff:
        return this.#card.powerOff()
      case VpcdControl.powerOn:
        return this.#card.reset('cold')
      case VpcdControl.reset:
        return this.#card.reset('warm')
      case VpcdControl.getAtr:
        return this.#respond(this.#card.atr)
      default:
        break
    }
    if (payload.length < 4) throw new RangeError(`vpcd sent an unknown message of ${payload.length} bytes.`)
    const response = await this.#card.process(payload)
    // The longest response to an extended Le is two bytes longer than the length field allows.
    this.#respond(response.length > maxPayloadBytes ? Uint8Array.of(0x6f, 0x00) : response)
  }

  #respond(payload: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(encodeVpcdFrame(payload))
  }
}

const maxPayloadBytes = 0xffff

/** Encodes a message. Throws RangeError if the payload is longer than 65535 bytes. */
export function encodeVpcdFrame(payload: Uint8Array): Uint8Array {
  if (payload.length > maxPayloadBytes)
    throw new RangeError(`A message of vpcd has at most 65535 bytes, not ${payload.length}.`)
  const frame = new Uint8Array(2 + payload.length)
  dataViewOf(frame).setUint16(0, payload.length)
  frame.set(payload, 2)
  return frame
}

/** Splits a stream into the payloads of its messages, regardless of how the stream is divided into chunks. */
export class VpcdFrameReader {
  #buffered = new Uint8Array(0)

  /** Adds a chunk and returns the payloads that are complete. */
  push(chunk: Uint8Array): Uint8Array[] {
    const bytes = new Uint8Array(this.#buffered.length + chunk.length)
    bytes.set(this.#buffered)
    bytes.set(chunk, this.#buffered.length)
    const view = dataViewOf(bytes)
    const payloads: Uint8Array[] = []
    let at = 0
    while (bytes.length - at >= 2) {
      const end = at + 2 + view.getUint16(at)
      if (end > bytes.length) break
      payloads.push(bytes.slice(at + 2, end))
      at = end
    }
    this.#buffered = bytes.slice(at)
    return payloads
  }
}
