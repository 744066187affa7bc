/** Replays test scenarios of another PIV implementation against the virtual PIV card (vectors/README.md). */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createPivCard } from '../src/piv/index.ts'
import { block, hex, select, send, show } from './piv-terminal.ts'

interface Command {
  readonly cla: number
  readonly ins: number
  readonly p1: number
  readonly p2: number
  readonly data: string
}
type Data = { length?: number; hex?: string; any?: true; notAllZero?: true }
interface Step {
  readonly op: string
  readonly args: { readonly algorithm?: string; readonly key?: string; readonly mutual?: boolean }
  readonly command?: Command
  readonly expect?: { readonly data: Data; readonly sw: string }
  readonly challenge?: { readonly command: Command; readonly expectSw: string }
  readonly response?: { readonly expectSw: string }
}
interface Scenario {
  readonly index: number
  readonly name: string
  readonly uuidConfig: { readonly uuid: string | null }
  readonly steps: readonly Step[]
}

const file = new URL('./vectors/piv-scenarios.json', import.meta.url)
const { scenarios } = JSON.parse(readFileSync(file, 'utf8')) as { readonly scenarios: readonly Scenario[] }
const header = (c: Command): string => show(Uint8Array.of(c.cla, c.ins, c.p1, c.p2))

describe('the virtual PIV card in scenarios of trussed-dev/piv-authenticator', () => {
  test('the vector file has all twelve scenarios', () => {
    expect(scenarios.map(({ index }) => index)).toEqual([0, 2, 7, 8, 9, 10, 13, 14, 15, 16, 21, 22])
  })
  test.each(scenarios)('passes scenario $index, "$name"', async ({ steps, uuidConfig }) => {
    const guid = uuidConfig.uuid === null ? {} : { guid: hex(uuidConfig.uuid) }
    const card = createPivCard({ vendorExtensions: true, pinUsagePolicy: 0x4010, ...guid })
    expect((await select(card)).sw).toBe('9000')
    let checked = 0
    for (const step of steps) {
      checked += 1
      if (step.command && step.expect) {
        const { data, sw } = await send(card, header(step.command), step.command.data)
        expect(sw, step.op).toBe(step.expect.sw)
        if (step.expect.data.length !== undefined) expect(data.length, step.op).toBe(step.expect.data.length)
        if (step.expect.data.hex !== undefined) expect(show(data), step.op).toBe(step.expect.data.hex)
        continue
      }
      const { challenge, response } = step
      if (!challenge || !response) throw new Error(`The step ${step.op} is unknown.`)
      const { data, sw } = await send(card, header(challenge.command), challenge.command.data)
      expect(sw, step.op).toBe(challenge.expectSw)
      if (sw !== '9000') continue
      const key = hex(step.args.key ?? '')
      const algorithm = challenge.command.p1
      const encrypted = data.slice(4)
      if (step.args.mutual) {
        const witness = block(algorithm, key, encrypted, true)
        const own = Uint8Array.from(encrypted, (_, i) => 0xa0 + i)
        const body = [0x80, witness.length, ...witness, 0x81, own.length, ...own]
        const cardResponse = await send(
          card,
          header(challenge.command),
          Uint8Array.of(0x7c, body.length, ...body),
        )
        expect(cardResponse.sw, step.op).toBe(response.expectSw)
        if (cardResponse.sw === '9000')
          expect(show(cardResponse.data.slice(4))).toBe(show(block(algorithm, key, own)))
      } else {
        const proof = block(algorithm, key, encrypted)
        const body = Uint8Array.of(0x7c, proof.length + 2, 0x82, proof.length, ...proof)
        expect((await send(card, header(challenge.command), body)).sw, step.op).toBe(response.expectSw)
      }
    }
    expect(checked).toBe(steps.length)
  })
})
