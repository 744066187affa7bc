/** @jsxRuntime classic */
/** @jsx element */
/** Tests the types of the elements in JSX, as a framework with React's types compiles it. */
import { type WebtokiIntrinsicElements, type WebtokiReaders } from '@webtoki/ui'
import { expect, it } from 'vitest'

type Rendered = readonly [tag: string, props: object | null, ...children: unknown[]]

function element(tag: string, props: object | null, ...children: unknown[]): Rendered {
  return [tag, props, ...children]
}

// The namespace of a framework, as in @types/react, extended by the Webtoki elements.
declare namespace element {
  namespace JSX {
    type Element = Rendered
    interface ElementChildrenAttribute {
      readonly children: unknown
    }
    interface IntrinsicAttributes {
      readonly key?: string | number | bigint | null | undefined
    }
    interface IntrinsicElements extends WebtokiIntrinsicElements {
      readonly div: { readonly children?: unknown }
    }
  }
}

declare const webtoki: NonNullable<WebtokiReaders['webtoki']>

it('the elements compile in JSX with properties, children and listeners', () => {
  const targets: EventTarget[] = []
  const rendered = (
    <div>
      <webtoki-readers
        key="readers"
        id="readers"
        no-connect
        onChange={(event) => targets.push(event.currentTarget)}
      />
      <webtoki-certificates certificates={[]} className="list">
        text
      </webtoki-certificates>
      <webtoki-pin hidden />
      <webtoki-progress slot="footer" />
    </div>
  )
  expect(<webtoki-pin hidden />).toMatchObject(element('webtoki-pin', { hidden: true }))
  expect(rendered.slice(2).map((child) => (child as Rendered)[0])).toEqual([
    'webtoki-readers',
    'webtoki-certificates',
    'webtoki-pin',
    'webtoki-progress',
  ])
})

it('a property that an element does not have does not compile', () => {
  // Never called: only the compiler checks it.
  const uncalled = (): unknown => [
    <webtoki-readers webtoki={webtoki} />,
    // @ts-expect-error The property takes a list.
    <webtoki-certificates certificates="all" />,
    // @ts-expect-error The element does not have this property.
    <webtoki-pin pin="123456" />,
    // @ts-expect-error The element does not exist.
    <webtoki-pins />,
  ]
  expect(uncalled).toBeInstanceOf(Function)
})
