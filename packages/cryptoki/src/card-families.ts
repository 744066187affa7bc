/**
 * Identifies the kind of a card that no driver supports, by selecting the AIDs of known applications (ISO/IEC 7816-4:2013,
 * 12.2.3). Loaded with the first such card.
 */
import { type CardConnection, concatBytes, fromHex, NotSupportedError } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenDriver } from './token.ts'

/** Card families by AID, the more specific first. */
const families: readonly (readonly [family: string, aid: string])[] = [
  ['a PIV card', 'a000000308'],
  ['an OpenPGP card', 'd27600012401'],
  ['a passport or identity card with travel data', 'a0000002471001'],
  ['a German identity card', 'e80704007f00070302'],
  ['an Estonian or Latvian identity card', 'a000000077010800070000fe00000100'],
  ['a GIDS card', 'a000000397425446590201'],
  ['an IsoApplet card', 'f276a288bcfba69d34f31001'],
  ['a security key (FIDO)', 'a0000006472f0001'],
  ['a PKCS#15 card', 'a000000063504b43532d3135'],
  ['a payment card', '315041592e5359532e4444463031'],
  ['a payment card', '325041592e5359532e4444463031'],
]
/** The AID of no application. A card that accepts it accepts every SELECT, and cannot be identified. */
const UNASSIGNED_AID = 'f0576562746f6b6900'

/** SELECT by AID: CLA, INS, P1, P2. */
const SELECT = [0x00, 0xa4, 0x04, 0x00]

/** Resolves to the card's family, or to undefined if it is unknown. Never rejects. */
async function familyOf(connection: CardConnection): Promise<string | undefined> {
  try {
    return await connection.transaction({}, async (channel) => {
      const selects = async (aid: string): Promise<boolean> => {
        const name = fromHex(aid)
        const [sw1] = (await channel.transmit(concatBytes(SELECT, [name.length], name, [0]))).subarray(-2)
        // 61xx means success with response data available, which is not needed.
        return sw1 === 0x90 || sw1 === 0x61
      }
      if (await selects(UNASSIGNED_AID)) return undefined
      for (const [family, aid] of families) if (await selects(aid)) return family
      return undefined
    })
  } catch {
    return undefined
  }
}

/** Closes the connection to an unsupported card. Resolves to CKR_TOKEN_NOT_RECOGNIZED, whose message names the card's family. */
export async function unrecognized(
  connection: CardConnection,
  drivers: readonly TokenDriver[],
): Promise<CryptokiError> {
  const family = await familyOf(connection)
  await connection.close()
  const names = drivers.map((driver) => driver.name).join(', ')
  const what = family === undefined ? '' : `This is ${family}. `
  const cause = new NotSupportedError(`${what}The card has none of the supported applications (${names}).`)
  const detail = family === undefined ? undefined : `this is ${family}, but only ${names} can be used`
  return new CryptokiError(CKR.TOKEN_NOT_RECOGNIZED, { cause, ...(detail && { detail }) })
}
