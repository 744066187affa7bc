/** Whether WebUSB can be used here, which a page may ask before anything is shown or opened. */
// Preserved in the declarations: they name WebUSB types, which no TypeScript program has by itself.
/// <reference types="w3c-web-usb" preserve="true" />
import type { ReaderSupport } from '@webtoki/apdu'

/** `document.featurePolicy` of Chromium, the only engine that has WebUSB; workers do not have it. */
interface DocumentWithPolicy {
  readonly featurePolicy?: { allowsFeature(feature: string): boolean }
}

/**
 * Asks nobody and touches no device. Browsers hide the API from pages that are not served over https or from localhost, so
 * `insecure-context` says nothing about whether the browser has it.
 */
export function usbSupport(usb: USB | undefined = globalThis.navigator?.usb): ReaderSupport {
  if (usb === undefined) return globalThis.isSecureContext === false ? 'insecure-context' : 'no-api'
  // A virtual USB is under no policy.
  if (usb !== globalThis.navigator?.usb) return 'available'
  const page = globalThis.document as DocumentWithPolicy | undefined
  return page?.featurePolicy?.allowsFeature('usb') === false ? 'policy' : 'available'
}
