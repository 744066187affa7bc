/** Tests that the scenarios of the benchmark stay within their limits, and the order of a login's commands. */
import { MemoryObjectCache } from '@webtoki/cryptoki'
import { createPivCard } from '@webtoki/simulator'
import { describe, expect, it } from 'vitest'
import type { Level } from '../src/counted-card.ts'
import { login, scenarios } from '../src/scenarios.ts'
import { tpduByUs, tpduScenarios } from '../src/tpdu-scenarios.ts'

describe.each(scenarios)('the scenario $name', (scenario) => {
  it.each(['short', 'extended'] as const)(
    'stays within its limit of APDUs at the %s level, with two transfers for each',
    async (level) => {
      const counts = await scenario.run(level)
      expect(counts.apdus).toBeGreaterThan(0)
      expect(counts.apdus).toBeLessThanOrEqual(scenario.atMost[level])
      expect(counts.usbTransfers).toBe(2 * counts.apdus)
    },
  )
})

/** Returns the names of the commands of one login, without GET RESPONSE. A command chain counts as one command. */
async function commandsOfLogin(level: Level, cache: MemoryObjectCache): Promise<string[]> {
  const card = createPivCard()
  const commands: string[] = []
  const names: readonly (readonly [RegExp, string])[] = [
    [/^00a4/, 'SELECT'],
    [/^00cb3fff(0000)?055c035fc102/, 'CHUID'],
    [/^00cb3fff(0000)?035c017e/, 'discovery'],
    [/^00cb3fff(0000)?055c035fc105/, 'certificate'],
    [/^00200080$/, 'attempts left'],
    [/^0020008008/, 'PIN'],
    [/^[01]087/, 'signature'],
    [/^0020ff80$/, 'logout'],
    [/^00c0/, ''],
  ]
  await login(level, cache, {
    atr: card.atr,
    reset: (kind) => card.reset(kind),
    powerOff: () => card.powerOff(),
    process: (command) => {
      const hex = Buffer.from(command).toString('hex')
      const name = names.find(([pattern]) => pattern.test(hex))?.[1] ?? hex.slice(0, 10)
      if (name !== '' && name !== commands.at(-1)) commands.push(name)
      return card.process(command)
    },
  })
  return commands
}

it.each(['short', 'extended'] as const)(
  'a login at %s level reads discovery and attempts before the PIN, with and without a cache',
  async (level) => {
    const cache = new MemoryObjectCache()
    const all = ['SELECT', 'CHUID', 'certificate', 'discovery', 'attempts left', 'PIN', 'signature', 'logout']
    expect(await commandsOfLogin(level, cache)).toEqual(all)
    // With a cache it still reads the card's identity, and the start of the cached object to check that it is the same.
    expect(await commandsOfLogin(level, cache)).toEqual(all)
  },
)

it.each(tpduScenarios)(
  '$name: a certificate, VERIFY and a signature take at most ten XfrBlocks and two transfers for each',
  async (scenario) => {
    const { xfrBlocks, usbTransfers } = await tpduByUs(scenario)
    expect(xfrBlocks).toBeLessThanOrEqual(scenario.protocol === 'T=1' ? 7 : 10)
    expect(usbTransfers).toBe(2 * xfrBlocks)
  },
)
