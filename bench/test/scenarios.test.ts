import { describe, expect, it } from 'vitest'
import { scenarios } from '../src/scenarios.ts'
import { tpduByUs, tpduScenarios } from '../src/tpdu-scenarios.ts'

describe.each(scenarios)('$name', (scenario) => {
  it.each(['short', 'extended'] as const)(
    'costs no more APDUs than it may at %s level, and two transfers each',
    async (level) => {
      const counts = await scenario.run(level)
      expect(counts.apdus).toBeGreaterThan(0)
      expect(counts.apdus).toBeLessThanOrEqual(scenario.atMost[level])
      expect(counts.usbTransfers).toBe(2 * counts.apdus)
    },
  )
})

it.each(tpduScenarios)(
  '$name: a certificate, VERIFY and a signature in ten blocks at most, two transfers each',
  async (scenario) => {
    const { xfrBlocks, usbTransfers } = await tpduByUs(scenario)
    expect(xfrBlocks).toBeLessThanOrEqual(scenario.protocol === 'T=1' ? 7 : 10)
    expect(usbTransfers).toBe(2 * xfrBlocks)
  },
)
