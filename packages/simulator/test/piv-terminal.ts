/** A minimal terminal for tests of virtual cards: builds APDUs and follows 61xx. It is independent of the driver. */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { VirtualCard } from '../src/index.ts'

export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'))
export const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The response to a command: data, and the status word in hex. */
export interface CardResponse {
  readonly data: Uint8Array
  readonly sw: string
}

/** Sends one command APDU. */
export async function raw(card: VirtualCard, command: string | Uint8Array): Promise<CardResponse> {
  const response = await card.process(typeof command === 'string' ? hex(command) : command)
  return { data: response.slice(0, -2), sw: show(response.slice(-2)) }
}

/** Sends a four-byte header and data in chained short commands, and collects the response with GET RESPONSE. */
export async function send(
  card: VirtualCard,
  header: string,
  data: Uint8Array | string = '',
): Promise<CardResponse> {
  const [cla = 0, ...rest] = hex(header)
  let left = typeof data === 'string' ? hex(data) : data
  for (; left.length > 255; left = left.slice(255)) {
    const part = await raw(card, Uint8Array.of(cla | 0x10, ...rest, 255, ...left.slice(0, 255)))
    if (part.sw !== '9000') return part
  }
  const body = left.length > 0 ? [left.length, ...left] : []
  // VERIFY and similar commands return no data and have no Le.
  const le = [0x20, 0x24, 0x2c, 0xdb, 0xfb, 0xfe, 0xff].includes(rest[0] ?? 0) ? [] : [0]
  let { data: got, sw } = await raw(card, Uint8Array.of(cla, ...rest, ...body, ...le))
  while (sw.startsWith('61')) {
    const more = await raw(card, Uint8Array.of(0, 0xc0, 0, 0, Number.parseInt(sw.slice(2), 16)))
    got = Uint8Array.of(...got, ...more.data)
    sw = more.sw
  }
  return { data: got, sw }
}

export const select = (card: VirtualCard): Promise<CardResponse> => send(card, '00a40400', 'a000000308')
export const pin = '313233343536ffff'

/** Encrypts or decrypts one block with a management key, using the cipher of node:crypto for the algorithm reference. */
export function block(algorithm: number, key: Uint8Array, input: Uint8Array, decrypt = false): Uint8Array {
  const name =
    ({ 3: 'des-ede3', 8: 'aes-128-ecb', 10: 'aes-192-ecb', 12: 'aes-256-ecb' } as const)[algorithm] ?? ''
  const cipher = decrypt ? createDecipheriv(name, key, null) : createCipheriv(name, key, null)
  cipher.setAutoPadding(false)
  return Uint8Array.from(Buffer.concat([cipher.update(input), cipher.final()]))
}

/** Authenticates with the default management key. */
export async function openManagement(card: VirtualCard): Promise<CardResponse> {
  const { data } = await send(card, '0087039b', '7c028100')
  const proof = block(3, hex('0102030405060708'.repeat(3)), data.slice(4))
  return send(card, '0087039b', Uint8Array.of(0x7c, 10, 0x82, 8, ...proof))
}
