/** What the firmware of single readers with keys insists on beyond CCID 1.1, 6.1.11: facts that users of such readers found. */

/** Absent members: as the standard has it. */
export interface PadHabits {
  /** Operations that bPINSupport announces and the reader does not know: it answers them by SlotStatus, as any message that it does not know. */
  readonly unknown?: readonly ('verify' | 'modify')[]
  /** The only bEntryValidationCondition that it takes. */
  readonly validation?: number
  /** The only bNumberMessage that it takes where a PIN is verified. */
  readonly verifyMessages?: number
  /** The only bNumberMessage that it takes where a PIN is changed. */
  readonly modifyMessages?: number
  /** All three bMsgIndex stand in a change, whatever bNumberMessage says. */
  readonly hasThreeIndices?: true
  /** Reads the two bytes of wPINMaxExtraDigit in the other order. */
  readonly swapsDigits?: true
  /** How long the key that ended an entry stays down, in milliseconds; until then another entry is refused. */
  readonly keyReleaseMs?: number
  /** A PIN without a block goes behind a bare header of four bytes, and only right after this Escape. In hex. */
  readonly escapeBeforeBareHeader?: string
}
