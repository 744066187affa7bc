/** Encodes and decodes GetParameters, ResetParameters, SetParameters and their response (CCID 1.1, 6.1.5 to 6.1.7 and 6.2.3). */
import { MalformedError } from '@webtoki/apdu'
import { type CcidResponse, type CommandHead, CommandStatus, encode, PcToRdr } from './messages.ts'

/** CCID 1.1, 6.1.5. Response: Parameters. */
export function encodeGetParameters(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.getParameters, command, 0, 0, 0)
}

/** CCID 1.1, 6.1.6. Response: Parameters. */
export function encodeResetParameters(command: CommandHead): Uint8Array<ArrayBuffer> {
  return encode(PcToRdr.resetParameters, command, 0, 0, 0)
}

/** Encoded protocol parameters: 5 bytes for T=0, 7 for T=1 (CCID 1.1, 6.1.7). */
export interface ProtocolParameters {
  readonly protocol: 0 | 1
  readonly data: Uint8Array
}

const parameterBytes = { 0: 5, 1: 7 } as const

/** CCID 1.1, 6.1.7. Response: Parameters. Throws MalformedError if the length does not match the protocol. */
export function encodeSetParameters(command: CommandHead & ProtocolParameters): Uint8Array<ArrayBuffer> {
  if (command.data.length !== parameterBytes[command.protocol]) {
    throw new MalformedError('SetParameters', `${command.data.length} bytes for T=${command.protocol}`)
  }
  return encode(PcToRdr.setParameters, command, command.protocol, 0, 0, command.data)
}

/** Decodes RDR_to_PC_Parameters (CCID 1.1, 6.2.3). The caller has checked the message type. Throws MalformedError. */
export function decodeParameters(response: CcidResponse): CcidResponse & ProtocolParameters {
  const protocol = response.parameter
  if (protocol !== 0 && protocol !== 1) throw new MalformedError('Parameters', `bProtocolNum ${protocol}`)
  const ok = response.commandStatus === CommandStatus.ok
  if (ok && response.data.length !== parameterBytes[protocol]) {
    throw new MalformedError('Parameters', `${response.data.length} bytes for T=${protocol}`)
  }
  return { ...response, protocol }
}
