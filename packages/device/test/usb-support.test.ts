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

  it('distinguishes a browser without WebUSB from a page that is not a secure context', () => {
    browser(undefined)
    expect(usbSupport()).toBe('no-api')
    browser(undefined, false)
    expect(usbSupport()).toBe('insecure-context')
  })

  it('reports a permissions policy that forbids USB', () => {
    browser(usb, true, ['camera'])
    expect(usbSupport()).toBe('policy')
    browser(usb, true, ['camera', 'usb'])
    expect(usbSupport()).toBe('available')
  })

  it('is available in a worker, which has no policy, and for a USB object that is passed in', () => {
    browser(usb)
    expect(usbSupport()).toBe('available')
    browser(undefined, false, [])
    expect(usbSupport(usb)).toBe('available')
  })
})
