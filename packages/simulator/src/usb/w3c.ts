/** The WebUSB interfaces that the simulator implements, declared here so that no type package is needed. */

/** WebUSB, USBTransferStatus. */
export type UsbTransferStatus = 'ok' | 'stall' | 'babble'

/** WebUSB, USBDirection. */
export type UsbDirection = 'in' | 'out'

/** WebUSB, USBControlTransferParameters. */
export interface UsbControlTransferParameters {
  requestType: 'standard' | 'class' | 'vendor'
  recipient: 'device' | 'interface' | 'endpoint' | 'other'
  request: number
  value: number
  index: number
}

/** WebUSB, USBDeviceFilter. */
export interface UsbDeviceFilter {
  vendorId?: number | undefined
  productId?: number | undefined
  classCode?: number | undefined
  subclassCode?: number | undefined
  protocolCode?: number | undefined
  serialNumber?: string | undefined
}

/** WebUSB, USBDeviceRequestOptions. */
export interface UsbDeviceRequestOptions {
  filters: UsbDeviceFilter[]
  exclusionFilters?: UsbDeviceFilter[] | undefined
}

/** WebUSB, USBEndpoint. */
export interface UsbEndpoint {
  readonly endpointNumber: number
  readonly direction: UsbDirection
  readonly type: 'bulk' | 'interrupt' | 'isochronous'
  readonly packetSize: number
}

/** WebUSB, USBAlternateInterface. */
export interface UsbAlternateInterface {
  readonly alternateSetting: number
  readonly interfaceClass: number
  readonly interfaceSubclass: number
  readonly interfaceProtocol: number
  readonly interfaceName: string | null
  readonly endpoints: UsbEndpoint[]
}

/** WebUSB, USBInterface. */
export interface UsbInterface {
  readonly interfaceNumber: number
  readonly alternate: UsbAlternateInterface
  readonly alternates: UsbAlternateInterface[]
  readonly claimed: boolean
}

/** WebUSB, USBConfiguration. */
export interface UsbConfiguration {
  readonly configurationValue: number
  readonly configurationName: string | null
  readonly interfaces: UsbInterface[]
}

/** WebUSB, USBInTransferResult. */
export interface UsbInTransferResult {
  readonly data?: DataView | undefined
  readonly status: UsbTransferStatus
}

/** WebUSB, USBOutTransferResult. */
export interface UsbOutTransferResult {
  readonly bytesWritten: number
  readonly status: UsbTransferStatus
}

/** WebUSB, USBIsochronousInTransferResult. */
export interface UsbIsochronousInTransferResult {
  readonly data?: DataView | undefined
  readonly packets: { readonly data?: DataView | undefined; readonly status: UsbTransferStatus }[]
}

/** WebUSB, USBIsochronousOutTransferResult. */
export interface UsbIsochronousOutTransferResult {
  readonly packets: { readonly bytesWritten: number; readonly status: UsbTransferStatus }[]
}

/** WebUSB, USBDevice. */
export interface UsbDeviceShape {
  readonly usbVersionMajor: number
  readonly usbVersionMinor: number
  readonly usbVersionSubminor: number
  readonly deviceClass: number
  readonly deviceSubclass: number
  readonly deviceProtocol: number
  readonly vendorId: number
  readonly productId: number
  readonly deviceVersionMajor: number
  readonly deviceVersionMinor: number
  readonly deviceVersionSubminor: number
  readonly manufacturerName: string | null
  readonly productName: string | null
  readonly serialNumber: string | null
  readonly configuration: UsbConfiguration | null
  readonly configurations: UsbConfiguration[]
  readonly opened: boolean
  open(): Promise<void>
  close(): Promise<void>
  forget(): Promise<void>
  selectConfiguration(configurationValue: number): Promise<void>
  claimInterface(interfaceNumber: number): Promise<void>
  releaseInterface(interfaceNumber: number): Promise<void>
  selectAlternateInterface(interfaceNumber: number, alternateSetting: number): Promise<void>
  controlTransferIn(setup: UsbControlTransferParameters, length: number): Promise<UsbInTransferResult>
  controlTransferOut(setup: UsbControlTransferParameters, data?: BufferSource): Promise<UsbOutTransferResult>
  clearHalt(direction: UsbDirection, endpointNumber: number): Promise<void>
  transferIn(endpointNumber: number, length: number): Promise<UsbInTransferResult>
  transferOut(endpointNumber: number, data: BufferSource): Promise<UsbOutTransferResult>
  isochronousTransferIn(
    endpointNumber: number,
    packetLengths: number[],
  ): Promise<UsbIsochronousInTransferResult>
  isochronousTransferOut(
    endpointNumber: number,
    data: BufferSource,
    packetLengths: number[],
  ): Promise<UsbIsochronousOutTransferResult>
  reset(): Promise<void>
}

/** WebUSB, USBConnectionEvent. */
export interface UsbConnectionEventShape extends Event {
  readonly device: UsbDeviceShape
}

/** A listener for `connect` and `disconnect` events. */
export type UsbConnectionListener = (event: UsbConnectionEventShape) => unknown
