/** What a card is if no driver here knows it: by the names of applications that it selects. Loaded with the first such card. */
import { type CardConnection, concatBytes, fromHex, NotSupportedError } from '@webtoki/apdu'
import { CKR } from './constants.ts'
import { CryptokiError } from './errors.ts'
import type { TokenDriver } from './token.ts'

/** Applications by their names (ISO/IEC 7816-4:2013, 12.2.3), the more special first. */
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
/** No application has this name: a card that selects it selects anything. */
const NOBODY = 'f0576562746f6b6900'

/** SELECT by name: CLA, INS, P1, P2. */
const SELECT = [0x00, 0xa4, 0x04, 0x00]

/** Asks the card for its applications, and resolves to what it is called; undefined: nobody knows. Never rejects. */
async function familyOf(connection: CardConnection): Promise<string | undefined> {
  try {
    return await connection.transaction({}, async (channel) => {
      const selects = async (aid: string): Promise<boolean> => {
        const name = fromHex(aid)
        const [sw1] = (await channel.transmit(concatBytes(SELECT, [name.length], name, [0]))).subarray(-2)
        // What the application says of itself is not fetched if the card holds it ready (61xx).
        return sw1 === 0x90 || sw1 === 0x61
      }
      if (await selects(NOBODY)) return undefined
      for (const [family, aid] of families) if (await selects(aid)) return family
      return undefined
    })
  } catch {
    return undefined
  }
}

/** Closes the connection to a card that none of the drivers knows. Resolves to CKR_TOKEN_NOT_RECOGNIZED, which says what it is. */
export async function unrecognized(
  connection: CardConnection,
  drivers: readonly TokenDriver[],
): Promise<CryptokiError> {
  const family = await familyOf(connection)
  await connection.close()
  const names = drivers.map((driver) => driver.name).join(', ')
  const what = family === undefined ? '' : `This is ${family}. `
  const cause = new NotSupportedError(
    `${what}The card has none of the applications that can be used here (${names}).`,
  )
  const detail = family === undefined ? undefined : `this is ${family}, and only ${names} can be used here`
  return new CryptokiError(CKR.TOKEN_NOT_RECOGNIZED, { cause, ...(detail && { detail }) })
}
