/** @jsxRuntime classic */
/** @jsx element */
/** The elements in JSX, as a framework with React's types compiles them. */
import { type WebtokiIntrinsicElements, type WebtokiReaders } from '@webtoki/ui'
import { expect, it } from 'vitest'

type Rendered = readonly [tag: string, props: object | null, ...children: unknown[]]

function element(tag: string, props: object | null, ...children: unknown[]): Rendered {
  return [tag, props, ...children]
}

// A framework's namespace, as @types/react has it, with our elements among its own.
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

it('the elements compile in JSX with their properties, children and listeners', () => {
  const heard: EventTarget[] = []
  const rendered = (
    <div>
      <webtoki-readers
        key="readers"
        id="readers"
        no-connect
        onChange={(event) => heard.push(event.currentTarget)}
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
  // Never called: what counts is what the compiler says.
  const refused = (): unknown => [
    <webtoki-readers webtoki={webtoki} />,
    // @ts-expect-error It takes a list.
    <webtoki-certificates certificates="all" />,
    // @ts-expect-error It has no such property.
    <webtoki-pin pin="123456" />,
    // @ts-expect-error There is no such element.
    <webtoki-pins />,
  ]
  expect(refused).toBeInstanceOf(Function)
})
