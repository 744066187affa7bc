/** Class requests on the control pipe: GET_CLOCK_FREQUENCIES and GET_DATA_RATES (CCID 1.1, 5.3.2 and 5.3.3). */
import { translateUsbError, withTimeout } from '@webtoki/device'
import { MalformedError, NotSupportedError } from '@webtoki/apdu'
import { READER_TIMEOUT_MS } from './messages.ts'
import type { CcidReader } from './reader.ts'

const GET_CLOCK_FREQUENCIES = 0x02
const GET_DATA_RATES = 0x03
const NUMBER_BYTES = 4
/**
 * bNumClockSupported and bNumDataRatesSupported are one byte. Some readers report 0 and return a list all the same.
 */
const MAX_NUMBERS = 256

/** Reads the clock frequencies that the reader lists, in kHz. Rejects with NotSupportedError if it lists none. */
export function readClockFrequencies(reader: CcidReader): Promise<readonly number[]> {
  return readNumbers(reader, GET_CLOCK_FREQUENCIES, 'GET_CLOCK_FREQUENCIES', reader.descriptor.clockCount)
}

/**
 * Reads the data rates that the reader lists, in bits per second. Rejects with NotSupportedError if it lists none.
 */
export function readDataRates(reader: CcidReader): Promise<readonly number[]> {
  return readNumbers(reader, GET_DATA_RATES, 'GET_DATA_RATES', reader.descriptor.dataRateCount)
}

async function readNumbers(
  reader: CcidReader,
  request: number,
  name: string,
  count: number,
): Promise<readonly number[]> {
  const { device, usbInterface } = reader.origin
  let result: USBInTransferResult
  try {
    result = await withTimeout(
      reader.clock,
      READER_TIMEOUT_MS,
      name,
      device.controlTransferIn(
        {
          requestType: 'class',
          recipient: 'interface',
          request,
          value: 0,
          index: usbInterface.interfaceNumber,
        },
        (count || MAX_NUMBERS) * NUMBER_BYTES,
      ),
    )
  } catch (error) {
    throw translateUsbError('transfer', error)
  }
  const { status, data } = result
  if (status === 'stall') throw new NotSupportedError(`The reader does not support ${name}.`)
  if (status !== 'ok' || data === undefined)
    throw new MalformedError(name, `the transfer ended with ${status}`)
  // Some readers send fewer numbers than announced, or an incomplete one. Only complete numbers count.
  const whole = Math.floor(data.byteLength / NUMBER_BYTES)
  return Array.from({ length: whole }, (_, at) => data.getUint32(at * NUMBER_BYTES, true)).filter(
    (each) => each > 0,
  )
}
