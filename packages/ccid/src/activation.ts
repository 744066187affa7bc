/** From a card's ATR to the way its commands go: protocol, parameters, PPS, IFSD, and what an APDU may be. */
import { atrStatesExtended, atrStatesLengths, limitsOf, NotSupportedError, readAtr } from '@webtoki/apdu'
import type { ActivatedSlot, Activation } from './activation-port.ts'
import { HEADER_BYTES } from './messages.ts'

/** CLA, INS, P1, P2, three bytes of Lc, 65535 bytes, two of Le. */
const EXTENDED_COMMAND_BYTES = 65_544

/** Settles everything that reader and card leave to the host. Rejects with NotSupportedError where they have nothing in common. */
export async function activate(
  slot: ActivatedSlot,
  atrBytes: Uint8Array,
  wanted: 'T=0' | 'T=1' | undefined,
): Promise<Activation> {
  const atr = readAtr(atrBytes)
  const { level } = slot.reader.descriptor
  if (level === 'tpdu' || level === 'character') {
    // Pages whose reader takes APDUs never load it, and few have one that takes characters.
    const { activateTpdu } = await import('./tpdu/activate.ts')
    const characters = level === 'tpdu' ? undefined : await import('./tpdu/character-line.ts')
    return activateTpdu(slot, atr, wanted, characters && new characters.CharacterLine(slot))
  }
  if (wanted !== undefined && atr !== undefined && `T=${atr.protocols[0] ?? 0}` !== wanted) {
    // At APDU level the reader chooses, and it chooses the first.
    throw new NotSupportedError(`The reader speaks T=${atr.protocols[0] ?? 0} with this card, not ${wanted}.`)
  }
  const { maxMessageBytes } = slot.reader.descriptor
  const most = { commandBytes: EXTENDED_COMMAND_BYTES, responseBytes: 65_536 }
  const extended = level === 'extended' && atr !== undefined && atrStatesExtended(atr)
  if (extended) return { limits: { extended, ...most } }
  // Over T=0 the reader makes several short ones of an extended APDU (ISO/IEC 7816-3:2006, 12.2): nothing would be won.
  const isSilent = atr !== undefined && atr.protocols[0] === 1 && !atrStatesLengths(atr)
  const mayTry = level === 'extended' && isSilent && slot.mayTryExtended
  const capacityBytes = level === 'extended' ? EXTENDED_COMMAND_BYTES : maxMessageBytes - HEADER_BYTES
  return { limits: { ...limitsOf(capacityBytes), ...(mayTry && { untried: most }) } }
}

/** Whether an ATR was damaged on its way, so that another reset may bring a good one. */
export function isDamaged(bytes: Uint8Array): boolean {
  const faults = readAtr(bytes)?.faults ?? []
  return faults.some((fault) => /wrong|truncated|convention/.test(fault))
}
