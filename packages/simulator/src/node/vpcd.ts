/** A virtual card behind vsmartcard's vpcd, the driver by which pcscd reaches cards over TCP. Messages: u16 length, most significant byte first, and a payload. */
import { dataViewOf } from '../bytes.ts'
import { connect, type Socket } from 'node:net'
import type { VirtualCard } from '../card.ts'

/** Payloads of one byte are orders to the card's power (vsmartcard, src/vpcd/vpcd.h); all others are command APDUs. */
export const VpcdControl = {
  powerOff: 0x00,
  powerOn: 0x01,
  reset: 0x02,
  getAtr: 0x04,
} as const

/** Where vpcd listens; default is the Debian package's own setting. */
export interface VpcdOptions {
  /** Default `127.0.0.1`. */
  readonly host?: string
  /** Default 35963 (8C7B, as the package's reader.conf has it); the second slot of vpcd is one higher. */
  readonly port?: number
}

/** The port of the Debian package's reader.conf. */
export const defaultVpcdPort: number = 0x8c7b

/**
 * Puts the card into vpcd's reader; it stays there until `close`, or until pcscd goes. Rejects where nothing listens.
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

/** A card in vpcd's reader. */
export interface VpcdConnection {
  /** Fulfils once, when the card has left the reader: with undefined after `close` or an end of pcscd, else with what went wrong. */
  readonly ended: Promise<Error | undefined>
  /** Takes the card out of the reader. */
  close(): Promise<void>
}

/** Not exported: its constructor's types are Node's, and whoever compiles against this package need not have them. */
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
        // One after the other: a reset that came behind an APDU must not overtake it.
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
    if (payload.length < 4) throw new RangeError(`vpcd sent a message of ${payload.length} bytes.`)
    const response = await this.#card.process(payload)
    // The length field ends two bytes before the longest answer of an extended Le.
    this.#respond(response.length > maxPayloadBytes ? Uint8Array.of(0x6f, 0x00) : response)
  }

  #respond(payload: Uint8Array): void {
    if (this.#socket.writable) this.#socket.write(encodeVpcdFrame(payload))
  }
}

const maxPayloadBytes = 0xffff

/** A message as bytes. */
export function encodeVpcdFrame(payload: Uint8Array): Uint8Array {
  if (payload.length > maxPayloadBytes) throw new RangeError('No message of vpcd is longer than 65535 bytes.')
  const frame = new Uint8Array(2 + payload.length)
  dataViewOf(frame).setUint16(0, payload.length)
  frame.set(payload, 2)
  return frame
}

/** Cuts a stream into the payloads of its messages, however it arrives. */
export class VpcdFrameReader {
  #buffered = new Uint8Array(0)

  /** Takes what came; gives the payloads that are whole now. */
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
