import { usbSupport } from '@webtoki/device'
import { virtualUsb } from '@webtoki/simulator'
import { afterEach, describe, expect, it, vi } from 'vitest'

describe('usbSupport', () => {
  afterEach(() => vi.unstubAllGlobals())

  const browser = (usb: USB | undefined, isSecureContext = true, allowed?: readonly string[]): void => {
    vi.stubGlobal('navigator', { usb })
    vi.stubGlobal('isSecureContext', isSecureContext)
    const allowsFeature = (feature: string): boolean => allowed?.includes(feature) ?? false
    vi.stubGlobal('document', allowed && { featurePolicy: { allowsFeature } })
  }
  const usb = virtualUsb([])

  it('tells a browser without WebUSB from a page that is not served over https', () => {
    browser(undefined)
    expect(usbSupport()).toBe('no-api')
    browser(undefined, false)
    expect(usbSupport()).toBe('insecure-context')
  })

  it('tells that the policy of the page forbids USB', () => {
    browser(usb, true, ['camera'])
    expect(usbSupport()).toBe('policy')
    browser(usb, true, ['camera', 'usb'])
    expect(usbSupport()).toBe('available')
  })

  it('is available in a worker, which knows of no policy, and for a USB that is handed in', () => {
    browser(usb)
    expect(usbSupport()).toBe('available')
    browser(undefined, false, [])
    expect(usbSupport(usb)).toBe('available')
  })
})
