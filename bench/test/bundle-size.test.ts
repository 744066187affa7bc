import { describe, expect, it } from 'vitest'
import { bundleSize, entries } from '../src/bundle-size.ts'

it('the driver alone is at most 12.7 KB, and loads what single readers need when they are there', async () => {
  const { gzipBytes, modules } = await bundleSize(entries.ccid, [/^@webtoki\/apdu/])
  expect(gzipBytes).toBeLessThanOrEqual(12_700)
  expect(modules.some((path) => path.includes('packages/ccid/src/card-link'))).toBe(true)
  expect(modules.filter((path) => /tpdu\/|pin-pad|iccd/.test(path))).toEqual([])
})

describe('what a login downloads', () => {
  it('is at most 25 KB, with a PIV card 63.7 KB, and holds no documents, CMS, applet or simulator', async () => {
    const { gzipBytes, gzipBytesWithPiv, modules } = await bundleSize(entries.login)
    expect(gzipBytes).toBeLessThanOrEqual(25_000)
    expect(gzipBytesWithPiv).toBeGreaterThan(gzipBytes)
    expect(gzipBytesWithPiv).toBeLessThanOrEqual(63_700)
    expect(modules.some((path) => path.includes('packages/ccid/src/card-link'))).toBe(true)
    const unexpected = modules.filter((path) =>
      /piv\/token|openpgp|pkcs15|packages\/documents|pkijs|asn1js|simulator/.test(path),
    )
    expect(unexpected).toEqual([])
  })

  it('is less than what signing a document downloads', async () => {
    const { modules } = await bundleSize(entries.signing)
    expect(modules.some((path) => path.includes('packages/documents/src/cms/'))).toBe(true)
    expect(modules.filter((path) => path.includes('simulator'))).toEqual([])
  })
})
