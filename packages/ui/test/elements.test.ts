/** Tests the import of the elements without a document, and the types of their tags. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import {
  defineElements,
  type WebtokiCertificates,
  type WebtokiIntrinsicElements,
  type WebtokiPin,
  type WebtokiProgress,
  type WebtokiReaders,
} from '@webtoki/ui'
import { afterEach, describe, expect, expectTypeOf, it, vi } from 'vitest'

afterEach(() => vi.restoreAllMocks())

describe('the custom elements in Node', () => {
  it('can be imported without a document, each module by itself', async () => {
    const folder = join(import.meta.dirname, '..', 'src')
    for (const file of readdirSync(folder)) await expect(import(join(folder, file))).resolves.toBeDefined()
  })

  it('are not registered by defineElements(), which warns once', () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    defineElements()
    defineElements()
    expect(warn).toHaveBeenCalledOnce()
    expect(warn.mock.lastCall?.[0]).toContain('in the browser')
  })
})

// Type checks: each tag has its class, and JSX knows each tag.
expectTypeOf<HTMLElementTagNameMap['webtoki-certificates']>().toEqualTypeOf<WebtokiCertificates>()
expectTypeOf<HTMLElementTagNameMap['webtoki-pin']>().toEqualTypeOf<WebtokiPin>()
expectTypeOf<HTMLElementTagNameMap['webtoki-progress']>().toEqualTypeOf<WebtokiProgress>()
expectTypeOf<HTMLElementTagNameMap['webtoki-readers']>().toEqualTypeOf<WebtokiReaders>()
expectTypeOf<keyof WebtokiIntrinsicElements>().toEqualTypeOf<
  Extract<keyof HTMLElementTagNameMap, `webtoki-${string}`>
>()
