/** Reports whether WebUSB can be used, before the page shows or opens anything. */
// Preserved in the declarations, because they name WebUSB types, which TypeScript does not provide.
/// <reference types="w3c-web-usb" preserve="true" />
import type { ReaderSupport } from '@webtoki/apdu'

/**
 * `document.featurePolicy` exists in Chromium, the only engine with WebUSB. Workers do not have it.
 * https://github.com/chromium/chromium/blob/203d979a7e0e835f3221974cbf51ac93b47db058/third_party/blink/renderer/core/permissions_policy/feature_policy.idl#L6-L11
 */
interface DocumentWithPolicy {
  readonly featurePolicy?: { allowsFeature(feature: string): boolean }
}

/**
 * Reports whether WebUSB can be used, without touching a device. Browsers hide the API from pages that are not a
 * secure context (HTTPS or localhost), so `insecure-context` does not mean that the browser supports it.
 */
export function usbSupport(usb: USB | undefined = globalThis.navigator?.usb): ReaderSupport {
  if (usb === undefined) return globalThis.isSecureContext === false ? 'insecure-context' : 'no-api'
  // A permissions policy does not apply to a virtual USB.
  if (usb !== globalThis.navigator?.usb) return 'available'
  const page = globalThis.document as DocumentWithPolicy | undefined
  return page?.featurePolicy?.allowsFeature('usb') === false ? 'policy' : 'available'
}
