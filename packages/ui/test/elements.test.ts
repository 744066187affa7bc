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

describe('the elements', () => {
  it('can be imported where there is no document, each module by itself', async () => {
    const folder = join(import.meta.dirname, '..', 'src')
    for (const file of readdirSync(folder)) await expect(import(join(folder, file))).resolves.toBeDefined()
  })

  it('are defined nowhere in Node, which is said once', () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue()
    defineElements()
    defineElements()
    expect(warn).toHaveBeenCalledOnce()
    expect(warn.mock.lastCall?.[0]).toContain('in the browser')
  })
})

// What must compile: the tags have their classes, and JSX knows each of them.
expectTypeOf<HTMLElementTagNameMap['webtoki-certificates']>().toEqualTypeOf<WebtokiCertificates>()
expectTypeOf<HTMLElementTagNameMap['webtoki-pin']>().toEqualTypeOf<WebtokiPin>()
expectTypeOf<HTMLElementTagNameMap['webtoki-progress']>().toEqualTypeOf<WebtokiProgress>()
expectTypeOf<HTMLElementTagNameMap['webtoki-readers']>().toEqualTypeOf<WebtokiReaders>()
expectTypeOf<keyof WebtokiIntrinsicElements>().toEqualTypeOf<
  Extract<keyof HTMLElementTagNameMap, `webtoki-${string}`>
>()
