/** A library over a token in memory, and an AES session key on it. */
import {
  type Attributes,
  CKA,
  CKK,
  CKM,
  CKO,
  type CkObject,
  Cryptoki,
  type CryptokiOptions,
  type PinSource,
  type Session,
  type Slot,
} from '@webtoki/cryptoki'
import { firstValueFrom } from 'rxjs'
import { expect } from 'vitest'
import { MemorySlot, SoftwareDriver, type SoftwareToken } from './software-token.ts'

export const sha256 = { type: CKM.SHA256 }
export const sign = { type: CKM.SHA256_RSA_PKCS }
export const iv: Uint8Array = Uint8Array.from({ length: 16 }, (_, at) => at * 7)
export const keyBytes: Uint8Array = Uint8Array.from({ length: 32 }, (_, at) => 255 - at)
export const cbcPad = { type: CKM.AES_CBC_PAD, iv }
export const pin: PinSource = async () => ({ pin: new TextEncoder().encode('1234') })
export const rv = (code: number): unknown => expect.objectContaining({ rv: code })

export interface MemorySetup {
  readonly token: SoftwareToken
  readonly cardSlot: MemorySlot
  readonly cryptoki: Cryptoki
  readonly slot: Slot
  readonly session: Session
}

export async function openMemory(
  options: Partial<CryptokiOptions> & { readonly attributes?: Attributes } = {},
): Promise<MemorySetup> {
  const { attributes, ...rest } = options
  const driver = new SoftwareDriver(attributes)
  const cardSlot = new MemorySlot()
  const cryptoki = new Cryptoki({ sources: [cardSlot], drivers: [driver], ...rest })
  const [slot] = await firstValueFrom(cryptoki.slots$)
  if (slot === undefined) throw new Error('No slot found.')
  const session = await slot.openSession({ pin })
  return { token: driver.token, cardSlot, cryptoki, slot, session }
}

export async function keyOf(session: Session, objectClass: CKO): Promise<CkObject> {
  const [object] = await session.findObjects({ [CKA.CLASS]: objectClass, [CKA.ID]: Uint8Array.of(1) })
  if (object === undefined) throw new Error('No such object found.')
  return object
}

/** An AES key that encrypts and decrypts. */
export function aesKey(
  session: Session,
  value: Uint8Array = keyBytes,
  more: Attributes = {},
): Promise<CkObject> {
  return session.createObject({
    [CKA.CLASS]: CKO.SECRET_KEY,
    [CKA.KEY_TYPE]: CKK.AES,
    [CKA.VALUE]: value,
    [CKA.ENCRYPT]: true,
    [CKA.DECRYPT]: true,
    ...more,
  })
}

/** Resolves after everything that needs promises alone is done. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
}
