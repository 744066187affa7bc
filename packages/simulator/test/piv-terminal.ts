/** A bare terminal for tests of the card alone: builds APDUs, follows 61xx, and knows nothing of our driver. */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { VirtualCard } from '../src/index.ts'

export const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s+/g, ''), 'hex'))
export const show = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

export interface Answer {
  readonly data: Uint8Array
  readonly sw: string
}

export async function raw(card: VirtualCard, command: string | Uint8Array): Promise<Answer> {
  const answer = await card.process(typeof command === 'string' ? hex(command) : command)
  return { data: answer.slice(0, -2), sw: show(answer.slice(-2)) }
}

/** Sends `header` (four bytes) and data in short chained commands, and collects the answer by GET RESPONSE. */
export async function send(
  card: VirtualCard,
  header: string,
  data: Uint8Array | string = '',
): Promise<Answer> {
  const [cla = 0, ...rest] = hex(header)
  let left = typeof data === 'string' ? hex(data) : data
  for (; left.length > 255; left = left.slice(255)) {
    const part = await raw(card, Uint8Array.of(cla | 0x10, ...rest, 255, ...left.slice(0, 255)))
    if (part.sw !== '9000') return part
  }
  const body = left.length > 0 ? [left.length, ...left] : []
  // VERIFY and its like return nothing and carry no Le.
  const le = [0x20, 0x24, 0x2c, 0xdb, 0xfb, 0xfe, 0xff].includes(rest[0] ?? 0) ? [] : [0]
  let { data: got, sw } = await raw(card, Uint8Array.of(cla, ...rest, ...body, ...le))
  while (sw.startsWith('61')) {
    const more = await raw(card, Uint8Array.of(0, 0xc0, 0, 0, Number.parseInt(sw.slice(2), 16)))
    got = Uint8Array.of(...got, ...more.data)
    sw = more.sw
  }
  return { data: got, sw }
}

export const select = (card: VirtualCard): Promise<Answer> => send(card, '00a40400', 'a000000308')
export const pin = '313233343536ffff'

/** Block cipher of node:crypto under a management key, by algorithm reference. */
export function block(algorithm: number, key: Uint8Array, input: Uint8Array, decrypt = false): Uint8Array {
  const name =
    ({ 3: 'des-ede3', 8: 'aes-128-ecb', 10: 'aes-192-ecb', 12: 'aes-256-ecb' } as const)[algorithm] ?? ''
  const cipher = decrypt ? createDecipheriv(name, key, null) : createCipheriv(name, key, null)
  cipher.setAutoPadding(false)
  return Uint8Array.from(Buffer.concat([cipher.update(input), cipher.final()]))
}

export async function openManagement(card: VirtualCard): Promise<Answer> {
  const { data } = await send(card, '0087039b', '7c028100')
  const proof = block(3, hex('0102030405060708'.repeat(3)), data.slice(4))
  return send(card, '0087039b', Uint8Array.of(0x7c, 10, 0x82, 8, ...proof))
}
