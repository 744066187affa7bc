/** Constants of the PIV card application, SP 800-73-4 part 1 table 3 and SP 800-78-4 tables 6-1 and 6-2. */

/** The PIV AID without its version, which selects the application of every version of the standard. */
export const pivAid: Uint8Array = /* @__PURE__ */ new Uint8Array([0xa0, 0, 0, 3, 8, 0, 0, 0x10, 0])

/** Algorithm identifiers (P1 of GENERAL AUTHENTICATE). The last four are newer than SP 800-78-4 or proprietary. */
export const PivAlgorithm = {
  TRIPLE_DES: 0x03,
  RSA_1024: 0x06,
  RSA_2048: 0x07,
  AES_128: 0x08,
  AES_192: 0x0a,
  AES_256: 0x0c,
  P256: 0x11,
  P384: 0x14,
  RSA_3072: 0x05,
  RSA_4096: 0x16,
  ED25519: 0xe0,
  X25519: 0xe1,
} as const
export type PivAlgorithm = (typeof PivAlgorithm)[keyof typeof PivAlgorithm]

/** Key references of PINs and the management key (P2 of VERIFY and others). */
export const PivReference = {
  GLOBAL_PIN: 0x00,
  APPLICATION_PIN: 0x80,
  PUK: 0x81,
  MANAGEMENT_KEY: 0x9b,
} as const
export type PivReference = (typeof PivReference)[keyof typeof PivReference]

/** Tags of data objects other than certificates (5C of GET DATA). */
export const PivObject = {
  CAPABILITIES: 0x5fc107,
  CHUID: 0x5fc102,
  SECURITY: 0x5fc106,
  PRINTED_INFORMATION: 0x5fc109,
  KEY_HISTORY: 0x5fc10c,
  DISCOVERY: 0x7e,
} as const
export type PivObject = (typeof PivObject)[keyof typeof PivObject]

/** A key and the data object of its certificate. */
export interface PivSlot {
  /** Key reference: P2 of GENERAL AUTHENTICATE. */
  readonly key: number
  readonly name: string
  /** Tag of the certificate's data object. */
  readonly certificateTag: number
  /** When the card requires the PIN: before each use, once, or never. */
  readonly pin: 'always' | 'once' | 'never'
}

/** The four standard slots. Frozen. */
export const mainSlots: readonly PivSlot[] = /* @__PURE__ */ frozen([
  { key: 0x9a, name: 'PIV Authentication', certificateTag: 0x5fc105, pin: 'once' },
  { key: 0x9c, name: 'Digital Signature', certificateTag: 0x5fc10a, pin: 'always' },
  { key: 0x9d, name: 'Key Management', certificateTag: 0x5fc10b, pin: 'once' },
  { key: 0x9e, name: 'Card Authentication', certificateTag: 0x5fc101, pin: 'never' },
])

/** The four standard slots, then the twenty slots of retired key management keys. Frozen. */
export const pivSlots: readonly PivSlot[] = /* @__PURE__ */ withRetired(mainSlots)

function withRetired(slots: readonly PivSlot[]): readonly PivSlot[] {
  const retired = Array.from(
    { length: 20 },
    (_, index): PivSlot => ({
      key: 0x82 + index,
      name: `Retired Key Management ${index + 1}`,
      certificateTag: 0x5fc10d + index,
      pin: 'once',
    }),
  )
  return frozen([...slots, ...retired])
}

/** Freezes the table, because all callers share it. */
function frozen(slots: readonly PivSlot[]): readonly PivSlot[] {
  for (const slot of slots) Object.freeze(slot)
  return Object.freeze(slots)
}

/** Returns the slot of a key reference, or undefined if PIV has no such slot. */
export function pivSlot(key: number): PivSlot | undefined {
  return pivSlots.find((slot) => slot.key === key)
}
