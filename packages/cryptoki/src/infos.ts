/** C_GetInfo and C_GetSlotInfo (PKCS#11 v3.0, 3.1 and 3.2). Apart from the library: a login does without. */
import { sealed } from '@webtoki/apdu'
import { firstValueFrom } from 'rxjs'
import { CKF } from './ckf.ts'
import type { Slot } from './slot.ts'

/** CK_VERSION. */
export interface Version {
  readonly major: number
  readonly minor: number
}

/** CK_INFO. */
export interface CryptokiInfo {
  /** The standard that the library follows. */
  readonly cryptokiVersion: Version
  readonly manufacturer: string
  /** None is defined. */
  readonly flags: 0
  readonly libraryDescription: string
  /** This package's. */
  readonly libraryVersion: Version
}

/** C_GetInfo. */
export const cryptokiInfo: CryptokiInfo = /* @__PURE__ */ Object.freeze({
  cryptokiVersion: /* @__PURE__ */ Object.freeze({ major: 3, minor: 0 }),
  manufacturer: 'Webtoki',
  flags: 0,
  libraryDescription: 'Webtoki, PKCS#11 in browsers',
  // A test compares it with package.json.
  libraryVersion: /* @__PURE__ */ Object.freeze({ major: 0, minor: 0 }),
})

/** CK_SLOT_INFO. */
export interface SlotInfo {
  readonly description: string
  /** Empty: the description begins with it, if the reader tells. */
  readonly manufacturer: string
  /** CKF_TOKEN_PRESENT, CKF_REMOVABLE_DEVICE, CKF_HW_SLOT. */
  readonly flags: number
  /** null: readers do not tell. */
  readonly hardwareVersion: Version | null
  /** null: readers do not tell. */
  readonly firmwareVersion: Version | null
}

/** C_GetSlotInfo: what is in the slot now, without touching the card. */
export async function slotInfo(slot: Slot): Promise<SlotInfo> {
  const isPresent = (await firstValueFrom(slot.presence$, { defaultValue: 'empty' })) !== 'empty'
  // A token has its card within it; what is not removable counts as present.
  const isRemovable = slot.kind !== 'token' || !isPresent
  return sealed({
    description: slot.name,
    manufacturer: '',
    flags: CKF.HW_SLOT | (isPresent ? CKF.TOKEN_PRESENT : 0) | (isRemovable ? CKF.REMOVABLE_DEVICE : 0),
    hardwareVersion: null,
    firmwareVersion: null,
  })
}
