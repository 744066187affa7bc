/** C_GetInfo and C_GetSlotInfo (PKCS#11 v3.0, 3.1 and 3.2). A separate module, because a login does not need it. */
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
  /** The version of the standard. */
  readonly cryptokiVersion: Version
  readonly manufacturer: string
  /** Always 0, because no flags are defined. */
  readonly flags: 0
  readonly libraryDescription: string
  /** The version of this package. */
  readonly libraryVersion: Version
}

/** C_GetInfo. */
export const cryptokiInfo: CryptokiInfo = /* @__PURE__ */ Object.freeze({
  cryptokiVersion: /* @__PURE__ */ Object.freeze({ major: 3, minor: 0 }),
  manufacturer: 'Webtoki',
  flags: 0,
  libraryDescription: 'Webtoki, PKCS#11 in browsers',
  // A test checks this against package.json.
  libraryVersion: /* @__PURE__ */ Object.freeze({ major: 0, minor: 0 }),
})

/** CK_SLOT_INFO. */
export interface SlotInfo {
  readonly description: string
  /** Always empty. If the reader reports a manufacturer, the description starts with it. */
  readonly manufacturer: string
  /** CKF_TOKEN_PRESENT, CKF_REMOVABLE_DEVICE, CKF_HW_SLOT. */
  readonly flags: number
  /** Always null, because readers do not report it. */
  readonly hardwareVersion: Version | null
  /** Always null, because readers do not report it. */
  readonly firmwareVersion: Version | null
}

/** C_GetSlotInfo: describes the slot and whether it contains a card now. Does not access the card. */
export async function slotInfo(slot: Slot): Promise<SlotInfo> {
  const isPresent = (await firstValueFrom(slot.presence$, { defaultValue: 'empty' })) !== 'empty'
  // A USB token contains its card permanently. PKCS#11 treats the token of a slot that is not removable as always present.
  const isRemovable = slot.kind !== 'token' || !isPresent
  return sealed({
    description: slot.name,
    manufacturer: '',
    flags: CKF.HW_SLOT | (isPresent ? CKF.TOKEN_PRESENT : 0) | (isRemovable ? CKF.REMOVABLE_DEVICE : 0),
    hardwareVersion: null,
    firmwareVersion: null,
  })
}
